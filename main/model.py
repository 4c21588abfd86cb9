"""LGNet (Xue & Wang 2025) as in the paper's overview figure: joint stage -> mesh stage -> refine stage."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from common.hand.mano import ManoLayer
from common.nets.backbone import build_backbone
from common.nets.eanet import EANet
from common.nets.joint_stage import JointStage
from common.nets.mesh_stage import MeshStage
from common.nets.refine_stage import RefineStage
from common.utils.errors import UserError
from main.config import Model

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 8  # cells a side of the backbone's last map, for 256 x 256 pictures


class LGNet(nn.Module):
    """One RGB crop of two hands -> both meshes. Settings are explained in main/config.py."""

    def __init__(
        self,
        mano: ManoLayer,
        backbone: str,
        backbone_weights: str,
        channels: int,
        attention: str,
        local_graph: str,
        detach_joints: bool,
        sjt_blocks: int,
        refine_graph: str,
        refine_channels: int,
        refine_maps: int,
        without: str,
    ):
        super().__init__()
        if channels % 16:
            raise UserError(f"model.channels={channels}: choose a multiple of 16")
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        self.backbone = build_backbone(backbone, backbone_weights)
        inputs, early = self.backbone.channels, self.backbone.early_channels
        if refine_maps > len(early):
            raise UserError(f"model.refine_maps={refine_maps}: a backbone has {len(early)} early maps")
        self.joint_stage = JointStage(inputs, channels, SIDE, attention, local_graph, detach_joints, without)
        adapted = self.joint_stage.adapted_channels
        self.mesh_stage = MeshStage(channels, adapted, sjt_blocks, mano, without)
        self.refine_stage = None
        if without != "refine_stage":
            self.refine_stage = RefineStage(
                early[:refine_maps], channels, adapted, refine_channels, refine_graph, mano
            )

    def forward(self, img: Tensor) -> dict[str, Tensor]:
        """RGB (B,3,256,256) in [0,1] -> predictions (metres, crop pixels):

        heatmap (B,2,21,8,8,8) logits · joints_img (B,2,21,3) · rotmat (B,2,16,3,3), mean pose
        included · shape (B,2,10) · cam (B,2,3) weak perspective · rel_trans (B,3) · present (B,2)
        logits · verts_rough, verts (B,2,778,3) and joints_rough, joints (B,2,21,3), each hand about
        its own wrist. Ablations: no heatmap without the joint stage; without the refine stage the rough
        mesh is the result, verts and joints.
        """
        image = (img - self.mean) / self.std
        features, early = self.backbone(image)
        stage = self.joint_stage(features)
        rough = self.mesh_stage(stage)
        seen = {key: stage[key] for key in ("heatmap", "joints_img") if key in stage}
        if self.refine_stage is None:
            return {**seen, **{key.removesuffix("_rough"): value for key, value in rough.items()}}
        return {**seen, **rough, **self.refine_stage(image, early, stage, rough)}


MODELS = {"lgnet": LGNet, "eanet": EANet}


def build_model(name: str, mano: ManoLayer, **settings: Any) -> nn.Module:
    """The network called `name` around the given hands; settings are those of main/config.py, Model.

    A network's constructor names the settings it takes; UserError on a change of one that it does not.
    """
    network = MODELS[name]
    taken = inspect.signature(network).parameters
    for key in (key for key in settings if key not in taken):
        if key not in vars(Model()):
            raise UserError(f"no network has a setting model.{key}")
        if settings[key] != vars(Model())[key]:
            raise UserError(f"{name} has no setting model.{key}: leave it at {vars(Model())[key]}")
    return network(mano=mano, **{key: settings[key] for key in settings.keys() & taken.keys()})


def model_from_snapshot(snapshot: dict[str, Any], mano: ManoLayer) -> nn.Module:
    """Rebuild a network with its snapshot's own settings and load its weights, in eval mode."""
    try:
        # settings that the snapshot is older than mean what they did before they existed: the default
        settings = {**vars(Model()), **snapshot["config"]["model"], "backbone_weights": "none"}
        model = build_model(mano=mano, **settings)
        model.load_state_dict(snapshot["network"])
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"the snapshot does not fit the network it names: {reason}") from None
    return model.eval()
