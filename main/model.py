"""LGNet (Xue & Wang 2025) as in the paper's overview figure, and the builders of both networks."""

from typing import Any

from torch import Tensor, nn

from common.hand.mano import ManoLayer
from common.nets.ablations import BOXES
from common.nets.aligned_stage import AlignedMeshStage
from common.nets.backbone import WHEELS, Backbone, build_backbone
from common.nets.eanet import EABlock, EANet, Regressor, eanet_extractor
from common.nets.heatmap import HeatmapGrid
from common.nets.joint_stage import FEATURE_SIDE, JointFeatureExtractor
from common.nets.layers import PerHand
from common.nets.mesh_stage import MeshStage
from common.nets.pyramid import Pyramid, PyramidExtractor
from common.utils.errors import UserError
from main.config import Model, from_dict, override

EANET_SETTINGS = (
    "name",
    "backbone",
    "backbone_weights",
    "frozen_stages",
    "channels",
    "sjt_blocks",
    "joint_head",
    "heatmap_side",
    "heatmap_margin",
    "regressor",
    "feedback",
)


class LGNet(nn.Module):
    """One RGB crop of two hands -> both meshes: joint stage, mesh stage, refine stage."""

    def __init__(
        self, backbone: Backbone, joint_stage: nn.Module, mesh_stage: nn.Module, refine_stage: nn.Module
    ):
        super().__init__()
        self.backbone = backbone
        self.joint_stage = joint_stage
        self.mesh_stage = mesh_stage
        self.refine_stage = refine_stage

    @property
    def grid(self) -> HeatmapGrid:
        """How its heat maps lie over the crop."""
        return self.mesh_stage.grid

    def forward(self, img: Tensor) -> dict[str, Tensor]:
        """RGB (B,3,256,256) in [0,1] -> the predictions of common/targets.py (metres, crop pixels)."""
        image = self.backbone.normalise(img)
        features, early = self.backbone(image)  # F and the early maps
        hands, joints = self.joint_stage(features, early)  # F_h, F*_h, F_J and J
        rough = self.mesh_stage(hands, joints["joints_img"])  # M_r
        refined = self.refine_stage(image, early, hands, joints["joints_img"], rough)  # M_f
        return {**joints, **rough, **refined}


def build_lgnet(settings: Model, mano: ManoLayer) -> LGNet:
    """LGNet, or one of its ablations, with the settings of main/config.py."""
    channels = settings.channels
    if channels % 16:
        raise UserError(f"model.channels={channels}: choose a multiple of 16")
    backbone = build_backbone(settings.backbone, settings.backbone_weights, settings.frozen_stages)
    early = backbone.early_channels
    if settings.refine_maps > len(early):
        raise UserError(f"model.refine_maps={settings.refine_maps}: a backbone has {len(early)} early maps")
    boxes = BOXES[settings.without]
    lgblock = boxes.lgblock(channels, FEATURE_SIDE, settings.attention, settings.local_graph)
    adapted = lgblock.outputs
    grid = heatmap_grid(settings)
    if settings.joint_head == "pyramid" and boxes.extractor is JointFeatureExtractor:
        extractor = pyramid_extractor(settings, grid, adapted, early, settings.detach_joints)
    else:
        feature = PerHand(lambda: nn.Conv2d(adapted, channels, 1))
        extractor = boxes.extractor(adapted, grid, feature, settings.detach_joints)
    if settings.regressor == "aligned" and boxes.mesh_stage is MeshStage:
        mesh_stage = aligned_stage(settings, adapted, grid, mano)
    else:
        mesh_stage = boxes.mesh_stage(channels, adapted, settings.sjt_blocks, grid, mano)
    return LGNet(
        backbone=backbone,
        joint_stage=boxes.joint_stage(backbone.channels, channels, lgblock, extractor),
        mesh_stage=mesh_stage,
        refine_stage=boxes.refine_stage(
            early[: settings.refine_maps],
            channels,
            adapted,
            settings.refine_channels,
            settings.refine_graph,
            settings.refine_misfit,
            grid,
            mano,
        ),
    )


def heatmap_grid(settings: Model) -> HeatmapGrid:
    """UserError where the paper's joint head is asked for what only the pyramid can give."""
    if settings.joint_head == "paper" and (settings.heatmap_side != FEATURE_SIDE or settings.heatmap_margin):
        raise UserError(
            "model.heatmap_side and model.heatmap_margin need --set model.joint_head=pyramid: the paper's "
            f"heat maps have {FEATURE_SIDE} cells and end with the crop"
        )
    return HeatmapGrid(
        side=settings.heatmap_side, margin=settings.heatmap_margin, depth_range=settings.depth_range
    )


def pyramid_extractor(
    settings: Model, grid: HeatmapGrid, adapted: int, early: tuple[int, ...], detach_joints: bool
) -> PyramidExtractor:
    """The joint head of ours, of F* with so many channels."""
    return PyramidExtractor(
        settings.channels, grid, Pyramid(adapted, settings.channels, grid.side, early), detach_joints
    )


def aligned_stage(settings: Model, adapted: int, grid: HeatmapGrid, mano: ManoLayer) -> AlignedMeshStage:
    """The mesh stage of ours, of F* with so many channels."""
    return AlignedMeshStage(settings.channels, adapted, settings.sjt_blocks, settings.feedback, grid, mano)


def build_eanet(settings: Model, mano: ManoLayer) -> EANet:
    """EANet; UserError on a change of a setting that it does not have."""
    defaults = Model()
    for name, value in vars(settings).items():
        if name not in EANET_SETTINGS and value != getattr(defaults, name):
            raise UserError(f"eanet has no setting model.{name}: leave it at {getattr(defaults, name)}")
    channels = settings.channels
    if channels % 4:
        raise UserError(f"model.channels={channels}: choose a multiple of 4")
    normalised = settings.backbone in WHEELS  # the ResNet of the public weights sees pictures as they are
    backbone = build_backbone(
        settings.backbone, settings.backbone_weights, settings.frozen_stages, normalised
    )
    extractor, regressor = eanet_extractor(channels), Regressor(channels, settings.sjt_blocks, mano)
    if (settings.joint_head, settings.regressor) == ("pyramid", "aligned"):
        grid, adapted = heatmap_grid(settings), 2 * channels
        extractor = pyramid_extractor(settings, grid, adapted, backbone.early_channels, detach_joints=True)
        regressor = aligned_stage(settings, adapted, grid, mano)
    elif (settings.joint_head, settings.regressor) != ("paper", "paper"):
        raise UserError("eanet takes model.joint_head=pyramid with model.regressor=aligned, or neither")
    return EANet(
        backbone=backbone,
        eablock=EABlock(backbone.channels, channels),
        extractor=extractor,
        regressor=regressor,
    )


MODELS = {"lgnet": build_lgnet, "eanet": build_eanet}


def build_model(settings: Model, mano: ManoLayer) -> nn.Module:
    """The network that the settings name, around the given hands."""
    return MODELS[settings.name](settings, mano)


def model_settings(values: dict[str, Any]) -> Model:
    """A snapshot's own settings, checked as those of a command line are."""
    older = from_dict({"model": {}})
    texts = [f"model.{name}={value}" for name, value in values.items()]
    try:
        return override(older, [*texts, "model.backbone_weights=none"]).model
    except UserError as error:
        raise UserError(f"the snapshot does not fit this code: {error}") from None


def model_from_snapshot(snapshot: dict[str, Any], mano: ManoLayer) -> nn.Module:
    """Rebuild a network with its snapshot's own settings and load its weights, in eval mode.

    UserError where the snapshot names settings or weights that this code does not have.
    """
    model = build_model(model_settings(snapshot["config"]["model"]), mano)
    load_network(model, snapshot, "the snapshot does not fit the network it names")
    return model.eval()


def load_network(model: nn.Module, snapshot: dict[str, Any], complaint: str) -> None:
    """The weights of a snapshot into a network; UserError that begins with `complaint` if they do not fit."""
    try:
        model.load_state_dict(snapshot["network"])
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"{complaint}: {reason}") from None
