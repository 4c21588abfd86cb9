"""Mesh stage: self-joint transformer and MANO regressor (figure, middle box). Ours is in aligned_stage.py.

Shapes: B batch, 2 hands, 21 joint tokens of c channels, A channels of F*.
"""

import torch
from torch import Tensor, nn

from common.hand.joints import NUM_JOINTS, WRIST
from common.hand.mano import ManoLayer
from common.nets.heatmap import HeatmapGrid
from common.nets.layers import PerHand, SelfAttention
from common.utils.geometry import IMAGE_SIZE, rotation_6d_to_matrix

# Regressors on 21 x (c + 3) flattened features explode under Adam without these (measured: gradient
# norm of the first steps 169-978 against 7.9).
TOKEN_SCALE, POOLED_SCALE = 1 / 32, 1 / 8
PIXELS_PER_METRE = 800.0  # a hand of 20 cm covers about 160 pixels of the crop
ROTATIONS = 16 * 6  # numbers: six for each MANO joint


class SelfJointTransformer(nn.Sequential):
    """Self-attention over the joints of one hand, with a learned embedding of the joint."""

    def __init__(self, channels: int, blocks: int, bias: bool = True):
        super().__init__(*[SelfAttention(channels, bias=bias) for _ in range(blocks)])
        self.embedding = nn.Parameter(torch.randn(NUM_JOINTS, channels) * 0.02)

    def forward(self, x: Tensor) -> Tensor:  # (B,21,c)
        return super().forward(x + self.embedding)


class MeshStage(nn.Module):
    """F_J, J and F* -> MANO parameters, camera, relative translation, presence, rough mesh M_r."""

    def __init__(self, channels: int, adapted: int, sjt_blocks: int, grid: HeatmapGrid, mano: ManoLayer):
        super().__init__()
        self.grid, self.mano = grid, mano
        placed = adapted + NUM_JOINTS * 3  # pooled F* and J
        self.sjt = PerHand(lambda: SelfJointTransformer(channels, sjt_blocks))
        self.rotation = PerHand(lambda: nn.Linear(NUM_JOINTS * (channels + 3), ROTATIONS))
        self.shape = PerHand(lambda: nn.Linear(adapted, 10))
        self.cam = PerHand(lambda: nn.Linear(placed, 3))
        self.presence = PerHand(lambda: PresenceHead(adapted))
        self.rel_trans = nn.Sequential(nn.Linear(2 * placed, channels), nn.ReLU(), nn.Linear(channels, 3))
        self.reset_regressors()

    def reset_regressors(self) -> None:
        """Start from the mean pose, the mean shape, and a camera centred on the predicted wrist."""
        rest = mean_pose_6d(self.mano)
        for hand in range(2):
            start_at(self.rotation.hands[hand], rest[hand].flatten())
            start_at(self.shape.hands[hand], torch.zeros(10))
            start_at(self.cam.hands[hand], torch.zeros(3))
            with torch.no_grad():
                of_joints = self.cam.hands[hand].weight[1:, -3 * NUM_JOINTS :]  # tx, ty from J
                of_joints[:, 3 * WRIST : 3 * WRIST + 2] = torch.eye(2)
        start_at(self.rel_trans[-1], torch.zeros(3))

    def forward(self, hands: dict[str, Tensor], joints_img: Tensor) -> dict[str, Tensor]:
        """The joint stage's features and J -> rotmat (B,2,16,3,3), shape (B,2,10), cam (B,2,3),
        rel_trans (B,3), present (B,2) logits, verts_rough (B,2,778,3), joints_rough (B,2,21,3)."""
        joints = self.grid.normalise(joints_img)  # (B,2,21,3) in [-1,1]
        pooled = hands["adapted"].mean((-2, -1)) * POOLED_SCALE  # (B,2,A)
        evidence = self.pose_evidence(hands, pooled, joints)
        with torch.autocast(pooled.device.type, enabled=False):  # heads and MANO in float32
            return {
                **self.regress(evidence.float(), pooled.float(), joints),
                "present": self.presence(hands["adapted"].float()).squeeze(-1),
            }

    def pose_evidence(self, hands: dict[str, Tensor], pooled: Tensor, joints: Tensor) -> Tensor:
        """What the rotations are read from: concat(F*_J, J), flat."""
        tokens = self.sjt(hands["joint_features"])  # F*_J (B,2,21,c)
        return flat_tokens(tokens.float(), joints)

    def regress(self, evidence: Tensor, pooled: Tensor, joints: Tensor) -> dict[str, Tensor]:
        rotation_6d = self.rotation(evidence).unflatten(-1, (16, 6))
        placed = torch.cat([pooled, joints.flatten(2)], -1)  # (B,2,A+63)
        return {
            **rough_hands(self.mano, rotation_6d, self.shape(pooled)),
            "cam": pixels_camera(self.cam(placed)),
            "rel_trans": self.rel_trans(placed.flatten(1)),
        }


class PresenceHead(nn.Module):
    """Whether the picture shows this hand: F*_h (B,A,S,S) -> logit (B,1).

    The paper names no head. Mean and largest response, normalised: as they come, they are too small for a
    linear layer to tell hands apart in the time it has.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(2 * channels)
        self.linear = nn.Linear(2 * channels, 1)

    def forward(self, adapted: Tensor) -> Tensor:
        pooled = torch.cat([adapted.mean((-2, -1)), adapted.amax((-2, -1))], -1)
        return self.linear(self.norm(pooled))


def rough_hands(mano: ManoLayer, rotation_6d: Tensor, shape: Tensor) -> dict[str, Tensor]:
    """Rotations (B,2,16,6) and betas (B,2,10) -> rotmat, shape, and verts_rough, joints_rough about the
    wrists."""
    rotmat = rotation_6d_to_matrix(rotation_6d)
    verts = mano.skin(rotmat, shape)
    joints = mano.joints(verts)
    wrist = joints[:, :, WRIST : WRIST + 1]
    return {"rotmat": rotmat, "shape": shape, "verts_rough": verts - wrist, "joints_rough": joints - wrist}


def mean_pose_6d(mano: ManoLayer) -> Tensor:
    """(2,16,6): MANO's mean pose, where regressors start from."""
    rest = mano.rotations(torch.zeros(1, 2, 16, 3, device=mano.faces.device))[0]
    return rest[..., :2].flatten(2)


def start_at(linear: nn.Linear, bias: Tensor) -> None:
    """Let a regressor start from `bias`, whatever it is shown."""
    nn.init.normal_(linear.weight, std=1e-3)
    with torch.no_grad():
        linear.bias.copy_(bias)


def flat_tokens(tokens: Tensor, joints: Tensor) -> Tensor:
    """Joint tokens (B,2,21,c) and coordinates (B,2,21,3), joint by joint, scaled -> (B,2,21*(c+3))."""
    return (torch.cat([tokens, joints], -1) * TOKEN_SCALE).flatten(2)


def pixels_camera(raw: Tensor) -> Tensor:
    """Regressed (..., 3), about [-1,1] -> weak perspective s (pixels per metre), tx, ty (pixels)."""
    scale = PIXELS_PER_METRE * (1 + raw[..., :1])
    centre = (raw[..., 1:] + 1) * (IMAGE_SIZE / 2) - 0.5
    return torch.cat([scale, centre], -1)
