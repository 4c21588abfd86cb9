"""The mesh stage of ours: it knows where its tokens are, and looks again at where its mesh has come to lie.

Against the paper's (mesh_stage.py): every joint token is told its coordinates before the transformer, a
hidden layer stands before the rotations, the camera is the one that best draws the rough joints at J, and
mesh-aligned feedback (PyMAF, Zhang et al. 2021) turns the hands once or more.

Shapes: B batch, 2 hands, 21 joint tokens of c channels, A channels of F*.
"""

import torch
from torch import Tensor, nn

from common.hand.joints import LEFT, NUM_JOINTS, RIGHT, WRIST
from common.hand.mano import ManoLayer
from common.nets.heatmap import HeatmapGrid, sample_at
from common.nets.layers import PerHand
from common.nets.mesh_stage import (
    PIXELS_PER_METRE,
    ROTATIONS,
    PresenceHead,
    SelfJointTransformer,
    mean_pose_6d,
    rough_hands,
    start_at,
)
from common.utils.geometry import crop_to_unit, weak_perspective

HIDDEN = 512  # channels of the layer before the rotations
SMALLEST_SCALE = 80.0  # pixels a metre: a hand on 16 pixels; below, depths and shifts lose their meaning


class PoseReader(nn.Module):
    """Joint tokens with their places, and what the hand is said to be -> a change of its rotations.

    places: numbers each token is told; state: numbers all tokens are told (0: none). One hand.
    """

    def __init__(self, channels: int, blocks: int, places: int, state: int):
        super().__init__()
        self.place = nn.Linear(places, channels)
        self.state = nn.Linear(state, channels) if state else None
        self.sjt = SelfJointTransformer(channels, blocks)
        self.norm = nn.LayerNorm(channels)
        self.hidden = nn.Linear(NUM_JOINTS * (channels + places), HIDDEN)
        self.rotation = nn.Linear(HIDDEN, ROTATIONS)
        start_at(self.rotation, torch.zeros(ROTATIONS))

    def forward(self, tokens: Tensor, places: Tensor, *state: Tensor) -> Tensor:
        """(B,21,c), (B,21,places), (B,state) -> (B,16,6)."""
        tokens = tokens + self.place(places)
        if self.state is not None:
            tokens = tokens + self.state(*state)[:, None]
        tokens = self.norm(self.sjt(tokens))
        evidence = torch.cat([tokens, places], -1).flatten(1)
        return self.rotation(torch.relu(self.hidden(evidence))).unflatten(-1, (16, 6))


class AlignedMeshStage(nn.Module):
    """F_J, J, F* and the maps F_J comes from -> MANO parameters, camera, relative translation, presence, M_r.

    feedback: how often the hands are turned after a look at where their joints fall in the maps.
    """

    def __init__(
        self, channels: int, adapted: int, sjt_blocks: int, feedback: int, grid: HeatmapGrid, mano: ManoLayer
    ):
        super().__init__()
        self.grid, self.mano = grid, mano
        self.register_buffer("start", mean_pose_6d(mano), persistent=False)  # (2,16,6)
        self.pose = PerHand(lambda: PoseReader(channels, sjt_blocks, places=6, state=0))
        self.correct = nn.ModuleList(
            PerHand(lambda: PoseReader(channels, 1, places=9, state=ROTATIONS + 3)) for _ in range(feedback)
        )
        self.shape = PerHand(lambda: nn.Sequential(nn.LayerNorm(adapted), nn.Linear(adapted, 10)))
        self.presence = PerHand(lambda: PresenceHead(adapted))
        self.pooled_norm = nn.LayerNorm(adapted)
        seen = 2 * (adapted + NUM_JOINTS * 3) + 4
        self.rel_trans = nn.Sequential(  # without the norm its ReLUs die, nearly all of them
            nn.Linear(seen, channels), nn.LayerNorm(channels), nn.ReLU(), nn.Linear(channels, 3)
        )
        start_at(self.rel_trans[-1], torch.zeros(3))
        for hand in self.shape.hands:
            start_at(hand[-1], torch.zeros(10))

    def forward(self, hands: dict[str, Tensor], joints_img: Tensor) -> dict[str, Tensor]:
        """The joint stage's features and J -> as MeshStage."""
        with torch.autocast(joints_img.device.type, enabled=False):  # heads and MANO in float32
            hands = {name: value.float() for name, value in hands.items()}
            adapted = hands["adapted"]
            pooled = adapted.mean((-2, -1))  # (B,2,A)
            shape = self.shape(pooled)
            rotation_6d = self.start + self.pose(hands["joint_features"], places(self.grid, joints_img))
            for correct in self.correct:
                rotation_6d = rotation_6d + self.feedback(correct, hands, joints_img, rotation_6d, shape)
            rough = rough_hands(self.mano, rotation_6d, shape)
            cam = aligned_camera(rough["joints_rough"], joints_img)
            return {
                **rough,
                "cam": cam,
                "rel_trans": self.relative_translation(pooled, joints_img, cam.detach()),
                "present": self.presence(adapted).squeeze(-1),
            }

    def feedback(
        self,
        correct: PerHand,
        hands: dict[str, Tensor],
        joints_img: Tensor,
        rotation_6d: Tensor,
        shape: Tensor,
    ) -> Tensor:
        """A look at where the estimate falls in the picture -> a change of its rotations (B,2,16,6)."""
        with torch.no_grad():  # what is looked at is a fact, not a thing to change
            rough = rough_hands(self.mano, rotation_6d, shape)
            joints = rough["joints_rough"]
            cam = aligned_camera(joints, joints_img)
            drawn = torch.cat([weak_perspective(joints, cam), joints[..., 2:]], -1)  # (B,2,21,3)
        maps = hands["joint_maps"]
        seen = sample_at(maps.flatten(0, 1), drawn[..., :2].flatten(0, 1)).unflatten(0, drawn.shape[:2])
        misfit = self.grid.normalise(joints_img) - self.grid.normalise(drawn)
        where = torch.cat([places(self.grid, drawn), 4 * misfit], -1)  # (B,2,21,9)
        state = torch.cat([rotation_6d.detach().flatten(2), camera_inputs(cam)], -1)
        return correct(seen, where, state)

    def relative_translation(self, pooled: Tensor, joints_img: Tensor, cam: Tensor) -> Tensor:
        """Left minus right wrist (B,3), metres: a guess from both cameras, and what features and J add to it.

        A hand's scale is focal length by depth, so that the ratio of both scales tells which hand is nearer.
        """
        ratio = (cam[:, LEFT, :1] / cam[:, RIGHT, :1]).log()
        wrists = cam[:, LEFT, 1:] - cam[:, RIGHT, 1:]  # pixels
        across = wrists / cam[..., 0].mean(1, keepdim=True)  # metres where both are about equally far
        scale = camera_inputs(cam)[..., 0].mean(1, keepdim=True)
        joints = self.grid.normalise(joints_img).flatten(2)
        both = torch.cat([self.pooled_norm(pooled), joints], -1).flatten(1)
        seen = torch.cat([both, ratio, 10 * across, scale], -1)
        guess = torch.cat([across, torch.zeros_like(ratio)], -1)
        return guess + self.rel_trans(seen)


def places(grid: HeatmapGrid, joints_img: Tensor) -> Tensor:
    """2.5-D joints (B,2,21,3) -> where they are in the crop and about the wrist, about [-1,1]: (B,2,21,6)."""
    joints = grid.normalise(joints_img)
    return torch.cat([joints, 2 * (joints - joints[:, :, WRIST : WRIST + 1])], -1)


def aligned_camera(joints: Tensor, joints_img: Tensor) -> Tensor:
    """The weak-perspective camera (B,2,3) that draws joints (B,2,21,3), about the wrist, where J is: the same
    middle and the same spread. Least squares would draw a hand the smaller the less the poses agree."""
    flat, pixels = joints[..., :2], joints_img[..., :2]
    middle, place = flat.mean(-2), pixels.mean(-2)
    spread = spread_of(pixels - place[..., None, :]) / spread_of(flat - middle[..., None, :])
    scale = spread[..., None].clamp_min(SMALLEST_SCALE)
    return torch.cat([scale, place - scale * middle], -1)


def spread_of(offsets: Tensor) -> Tensor:
    """Root of the sum of squares of (..., N, 2), with a finite gradient where all are 0."""
    return (offsets.square().sum((-2, -1)) + 1e-8).sqrt()


def camera_inputs(cam: Tensor) -> Tensor:
    """s, tx, ty (..., 3) -> log of the scale and the place, about [-1,1]."""
    return torch.cat([(cam[..., :1] / PIXELS_PER_METRE).log(), crop_to_unit(cam[..., 1:])], -1)
