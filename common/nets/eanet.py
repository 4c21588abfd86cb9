"""EANet (Park et al. 2023) beside LGNet: same contract, same losses, layers shared where equal.

Written from the paper and the public behaviour of its code; with the published weights
(tool/convert_eanet.py) it computes what they compute.
Shapes: B batch, 2 hands, S = 8 cells a side, N = S*S tokens, c channels.
"""

import torch
from torch import Tensor, nn

from common.hand.joints import NUM_JOINTS, RIGHT, WRIST
from common.hand.mano import ManoLayer
from common.nets.backbone import Backbone
from common.nets.heatmap import CORNER, HeatmapGrid
from common.nets.joint_stage import JointFeatureExtractor
from common.nets.layers import PerHand, PreNormAttention, SelfAttention
from common.nets.mesh_stage import POOLED_SCALE, SelfJointTransformer, flat_tokens, start_at
from common.utils.geometry import IMAGE_SIZE, matrix_to_axis_angle, rotation_6d_to_matrix

GRID = HeatmapGrid(side=8, bins=8, depth_range=0.3, point=CORNER)
BLOCKS = 4  # transformer blocks of every stack
CELL = IMAGE_SIZE / GRID.side  # pixels; EANet's camera counts in cells


class EANet(nn.Module):
    """One RGB crop of two hands -> both meshes: EABlock, joint extractor, regressor.

    regressor: EANet's own, or the mesh stage of ours, for a comparison of what is left.
    """

    def __init__(
        self, backbone: Backbone, eablock: nn.Module, extractor: JointFeatureExtractor, regressor: nn.Module
    ):
        super().__init__()
        self.backbone = backbone
        self.eablock = eablock
        self.extractor = extractor
        self.regressor = regressor

    @property
    def grid(self) -> HeatmapGrid:
        """How its heat maps lie over the crop."""
        return self.extractor.grid

    def forward(self, img: Tensor) -> dict[str, Tensor]:
        """RGB (B,3,256,256) in [0,1] -> predictions as LGNet's; EANet's own regressor gives neither a rough
        mesh, which nothing refines, nor presence."""
        features, early = self.backbone(self.backbone.normalise(img))
        adapted = self.eablock(features)  # F*_R, F*_L
        joints, sampled = self.extractor(adapted, early)
        regressed = self.regressor({"adapted": adapted, **sampled}, joints["joints_img"])
        return {**joints, **final_mesh(regressed)}


def final_mesh(regressed: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where there is only a rough mesh, it is the final one, too."""
    if "verts" in regressed:
        return regressed
    return {**regressed, "verts": regressed["verts_rough"], "joints": regressed["joints_rough"]}


def eanet_extractor(channels: int) -> JointFeatureExtractor:
    """Heat maps and features from F* of 2c channels; joints get no gradient from where they sample."""
    feature = PerHand(lambda: conv_block(2 * channels, channels))
    return JointFeatureExtractor(2 * channels, GRID, feature, detach_joints=True)


def conv_block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU())


class EABlock(nn.Module):
    """Extract what the hands share, adapt it to each: F -> F*_h = conv(concat(F_h, adapted_h))."""

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.conv = PerHand(lambda: conv_block(inputs, channels))
        self.extract = FuseFormer(channels)
        self.adapt = PerHand(lambda: FuseFormer(channels))
        self.out = PerHand(lambda: conv_block(2 * channels, 2 * channels))

    def forward(self, image_features: Tensor) -> Tensor:  # (B,C,S,S) -> (B,2,2c,S,S)
        features = self.conv(image_features[:, None].expand(-1, 2, -1, -1, -1))
        tokens = features.flatten(3).transpose(2, 3)  # (B,2,N,c)
        shared = self.extract(*tokens.unbind(1))  # (B,N,c)
        adapted = self.adapt(tokens, shared[:, None].expand_as(tokens))
        both = torch.cat([tokens, adapted], -1).transpose(2, 3)
        return self.out(both.unflatten(3, features.shape[3:]))


class FuseFormer(nn.Module):
    """JoinToken (an FC of both maps) asks SimToken (self-attention over both maps): N tokens out."""

    def __init__(self, channels: int):
        super().__init__()
        tokens = GRID.side**2

        def embedding(count: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(count, channels) * 0.02)

        self.fc = nn.Linear(2 * channels, channels)
        self.cls_token, self.position = embedding(1), embedding(1 + 2 * tokens)
        self.sim_blocks = nn.Sequential(*[SelfAttention(channels, bias=False) for _ in range(BLOCKS)])
        self.fc_sim = nn.Linear(channels, channels)
        self.query_position, self.context_position = embedding(tokens), embedding(1 + 2 * tokens)
        self.cross_blocks = nn.ModuleList([PreNormAttention(channels, bias=False) for _ in range(BLOCKS)])
        self.fc_out = nn.Linear(channels, channels)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # (B,N,c), (B,N,c) -> (B,N,c)
        joined = torch.cat([self.cls_token.expand(a.shape[0], -1, -1), a, b], 1)  # (B,1+2N,c)
        context = self.fc_sim(self.sim_blocks(joined + self.position)) + self.context_position
        x = self.fc(torch.cat([a, b], -1)) + self.query_position
        for block in self.cross_blocks:
            x = block(x, context)
        return self.fc_out(x)


class Regressor(nn.Module):
    """Self-joint transformer and linear layers: F*, F_J and J -> MANO, camera, relative translation."""

    def __init__(self, channels: int, sjt_blocks: int, mano: ManoLayer):
        super().__init__()
        self.mano = mano
        self.sjt = PerHand(lambda: SelfJointTransformer(channels, sjt_blocks, bias=False))
        self.rotation = PerHand(lambda: nn.Linear(NUM_JOINTS * (channels + 3), 16 * 6))
        self.shape = PerHand(lambda: nn.Linear(2 * channels, 10))
        self.cam = PerHand(lambda: nn.Linear(2 * channels, 3))
        self.rel_trans = nn.Sequential(nn.Linear(4 * channels, channels), nn.ReLU(), nn.Linear(channels, 3))
        for hand in range(2):  # the mean hand in the middle of the crop, about 20 cm on 160 pixels
            start_at(self.rotation.hands[hand], torch.eye(3)[:, :2].flatten().repeat(16))
            start_at(self.shape.hands[hand], torch.zeros(10))
            start_at(self.cam.hands[hand], torch.tensor([25.0, GRID.side / 2, GRID.side / 2]))
        start_at(self.rel_trans[-1], torch.zeros(3))

    def forward(self, hands: dict[str, Tensor], joints_img: Tensor) -> dict[str, Tensor]:
        """adapted F* (B,2,2c,S,S) and joint_features F_J (B,2,21,c), J (B,2,21,3) -> predictions."""
        grid = GRID.to_grid(joints_img).detach()  # heat-map indices
        tokens = self.sjt(hands["joint_features"])
        pooled = hands["adapted"].mean((-2, -1)) * POOLED_SCALE  # (B,2,2c)
        with torch.autocast(tokens.device.type, enabled=False):  # heads and MANO in float32
            return self.regress(flat_tokens(tokens.float(), grid), pooled.float())

    def regress(self, flat: Tensor, pooled: Tensor) -> dict[str, Tensor]:
        without_mean = rotation_6d_to_matrix(self.rotation(flat).unflatten(-1, (16, 6)))
        rotmat = self.mano.rotations(matrix_to_axis_angle(without_mean))  # the mean is added to the vectors
        shape = self.shape(pooled)
        verts = self.mano.skin(rotmat, shape)
        joints = self.mano.regressor_interhand[RIGHT] @ verts  # EANet takes the right hand's for both
        wrist = joints[:, :, WRIST : WRIST + 1]
        return {
            "rotmat": rotmat,
            "shape": shape,
            "cam": wrist_camera(self.cam(pooled), wrist.squeeze(2)),
            "rel_trans": self.rel_trans(pooled.flatten(1)),
            "verts": verts - wrist,
            "joints": joints - wrist,
        }


def wrist_camera(raw: Tensor, wrist: Tensor) -> Tensor:
    """s, tx, ty (..., 3) in cells, of points in MANO's own frame, where the wrist is at (..., 3) ->
    in crop pixels, of points about the wrist."""
    scale = raw[..., :1]
    return CELL * torch.cat([scale, raw[..., 1:] + scale * wrist[..., :2]], -1)
