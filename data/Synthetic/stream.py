"""An endless stream of synthetic two-hand pictures in the batch contract of every data set.

Legend: B samples, 2 hands (right, left), V vertices, S spheres. Metres, camera frame, crop pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from common.hand.joints import LEFT, RIGHT, WRIST
from common.hand.mano import ManoLayer
from common.utils.geometry import project
from data.Synthetic import placement, poses
from data.Synthetic.draws import Draws
from data.Synthetic.scene import Painter, Pair

SINGLE = 0.1  # share of pictures with one hand
VISIBLE = 0.05  # of a hand's silhouette, from which it counts as present
FOCAL = 1268.0  # InterHand2.6M's cameras
IMAGE_SIZE = (334, 512)
REACH = (0.06, 0.25)  # metres between the wrists of interacting hands


@dataclass(frozen=True)
class Placed:
    """Hands in the camera: everything (B,2,...)."""

    rotmat: Tensor  # (B,2,16,3,3), mean pose included
    shape: Tensor  # (B,2,10)
    verts: Tensor  # (B,2,V,3)
    joints: Tensor  # (B,2,21,3)
    pivot: Tensor  # (B,2,3)
    centres: Tensor  # (B,2,S,3)
    exists: Tensor  # (B,2)


class SyntheticStream:
    """Iterable over batches; sample i depends on (seed, i) alone.

    Pictures are made on the device of `layer`. samples: how many make an epoch, which changes no
    sample; cone: how far (degrees) the camera is tilted from its usual places; roll: rotation in
    the picture plane, at most so many degrees either way.
    """

    def __init__(
        self,
        layer: ManoLayer,
        batch_size: int,
        seed: int,
        samples: int,
        size: int = 256,
        cone: float = 60.0,
        roll: float = 30.0,
    ):
        self.layer, self.batch_size, self.seed, self.samples = layer, batch_size, seed, samples
        self.size, self.cone, self.roll = size, cone, roll
        self.epoch = self.done = 0
        flat, none = _flat(layer)
        rest, joints = layer.skin(flat, none)[0], layer.joints(layer.skin(flat, none))[0]
        self.axes = poses.finger_axes(layer.rest_joints[RIGHT])
        self.spheres = placement.sphere_weights(rest.device)
        self.radii = placement.sphere_radii(self.spheres @ joints[RIGHT], rest[RIGHT])
        self.painter = Painter(layer, rest, joints, self.radii, size)

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """Epoch e starts at sample e * samples; `batch` > 0 resumes it after so many batches."""
        self.epoch, self.done = epoch, batch

    def __iter__(self) -> Iterator[dict]:
        first, last = self.epoch * self.samples, (self.epoch + 1) * self.samples
        for start in range(first + self.done * self.batch_size, last, self.batch_size):
            yield self.batch(range(start, min(start + self.batch_size, last)))

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return -(-self.samples // self.batch_size)

    @torch.no_grad()
    def batch(self, indices: range) -> dict:
        """The samples with these indices as one batch."""
        draws = Draws(self.seed, indices, self.radii.device)
        hands = self.place(draws)
        camera = draw_camera(draws, hands, self.size)
        pair = Pair(hands.verts, hands.centres, hands.exists, camera["K"])
        picture, visible = self.painter(draws, pair)
        labels = make_labels(hands, camera["K"], self.layer.pose(hands.rotmat), self.size)
        labels["present"] = (visible >= VISIBLE).float() * hands.exists
        return {
            "img": picture,
            **labels,
            **camera,
            "hand_type": [_hand_type(row) for row in hands.exists.tolist()],
            "human_annotated": [True] * len(indices),
            "id": [f"synthetic/{self.seed}/{index:06d}" for index in indices],
        }

    def place(self, draws: Draws) -> Placed:
        """Draw poses, shapes and places of both hands."""
        device = draws.device
        kind = draws.pick(placement.table("weight", device))  # (B,)
        view = poses.view_rotation(draws, self.cone, self.roll)  # (B,3,3)
        rotmat = self._rotations(draws, kind, view)
        shape = draws.normal(1, 10, std=0.8, limit=2.5) + draws.normal(2, 10, std=0.1)
        verts = self.layer.skin(rotmat, shape)
        verts = verts - self.layer.rest_wrist(shape)[:, :, None]
        joints = self.layer.joints(verts)
        shift = self._approach(draws, kind, view, joints)
        one = draws.chance(SINGLE, 1)
        which = functional.one_hot(draws.pick(one.new_ones(2)), 2)
        exists = (1 - one) + one * which  # (B,2)
        place = torch.stack((torch.zeros_like(shift), shift), 1)  # (B,2,3)
        middle = ((verts.mean(2) + place) * exists[..., None]).sum(1) / exists.sum(1, keepdim=True)
        target = torch.stack((draws.normal(2, std=0.05), draws.uniform(2, low=0.95, high=1.25)), -1)
        target = torch.stack((target[:, 0, 0], target[:, 1, 0], target[:, 0, 1]), -1)
        pivot = place + (target - middle)[:, None]
        joints, verts = joints + pivot[:, :, None], verts + pivot[:, :, None]
        return Placed(rotmat, shape, verts, joints, pivot, self.spheres @ joints, exists)

    def _rotations(self, draws: Draws, kind: Tensor, view: Tensor) -> Tensor:
        """(B,2,16,3,3), the wrist in the camera, the mean pose included."""
        device = draws.device
        family = draws.pick(placement.table("families", device)[kind][:, None].expand(-1, 2, -1), 2)
        same = draws.chance(0.4, 1) > 0  # both hands often do the same
        family = torch.where(same, family[:, :1], family)
        fingers = poses.finger_rotations(draws, family, self.axes)
        palms = placement.table("palms", device)[kind]  # (B,2,3)
        palm = palms[torch.arange(len(kind), device=device), draws.pick(palms.new_ones(2))]
        wrist = poses.facing(placement.table("fingers", device)[kind], palm)[:, None]
        turn = placement.table("turn", device)[kind][:, None]
        wrist = poses.random_turn(draws, turn, 2) @ wrist
        rotmat = poses.mirror_left(torch.cat((wrist[:, :, None], fingers), 2))
        rotmat[:, :, 0] = view[:, None] @ rotmat[:, :, 0]
        return rotmat

    def _approach(self, draws: Draws, kind: Tensor, view: Tensor, joints: Tensor) -> Tensor:
        """Place of the left pivot relative to the right one, (B,3); joints relative to the pivots."""
        device = draws.device
        offset = placement.table("offset", device)[kind]
        offset = offset + draws.normal(3, limit=2) * placement.table("spread", device)[kind]
        flip = draws.chance(0.5, 1) * placement.table("either", device)[kind][:, None]
        offset = torch.cat((offset[:, :2], offset[:, 2:] * (1 - 2 * flip)), 1) / 1000
        anchors = placement.anchor_weights(device)[kind][:, None, None] @ joints  # (B,2,1,3)
        shift = anchors[:, RIGHT, 0] - anchors[:, LEFT, 0] + (view @ offset[..., None])[..., 0]
        between = joints[:, LEFT, WRIST] + shift - joints[:, RIGHT, WRIST]
        length = between.norm(dim=-1, keepdim=True)
        shift = shift + between * (length.clamp(*REACH) / length - 1)
        centres = self.spheres @ joints
        moved = torch.stack((centres[:, RIGHT], centres[:, LEFT] + shift[:, None]), 1)
        return shift + placement.separate(moved, self.radii, -view[:, :, 0])


def draw_camera(draws: Draws, hands: Placed, size: int) -> dict[str, Tensor]:
    """Original camera, box about the hands, jittered crop: the camera keys of the contract."""
    width, height = IMAGE_SIZE
    focal = FOCAL * (1 + draws.normal(std=0.01))
    centre = draws.uniform(2, low=0.42, high=0.58) * draws.device_tensor(IMAGE_SIZE)
    original = torch.eye(3, device=draws.device).repeat(draws.batch, 1, 1)
    original[:, 0, 0] = original[:, 1, 1] = focal
    original[:, :2, 2] = centre
    box = hands_box(project(hands.verts, original[:, None]), hands.exists)
    side = box[:, 2] * (1 + 0.25 * draws.normal(limit=1))
    middle = box[:, :2] + box[:, 2:] / 2 + 0.15 * draws.normal(2, limit=1) * box[:, 2:]
    scale = size / side
    affine = torch.zeros(draws.batch, 2, 3, device=draws.device)
    affine[:, 0, 0] = affine[:, 1, 1] = scale
    affine[:, :, 2] = size / 2 - scale[:, None] * middle
    row = original.new_tensor((0.0, 0.0, 1.0)).expand(draws.batch, 1, 3)
    return {
        "K": torch.cat((affine, row), 1) @ original,
        "affine": affine,
        "K_orig": original,
        "image_size": draws.device_tensor((width, height)).expand(draws.batch, 2).clone(),
        "box": box,
    }


def hands_box(pixels: Tensor, exists: Tensor) -> Tensor:
    """Box (B,4) x, y, w, h: tight around the existing hands' (B,2,V,2), squared, enlarged by 1.25."""
    there = exists[..., None, None] > 0
    low = torch.where(there, pixels, torch.inf).amin((1, 2))
    high = torch.where(there, pixels, -torch.inf).amax((1, 2))
    side = 1.25 * (high - low).amax(-1, keepdim=True)
    return torch.cat(((low + high - side) / 2, side, side), -1)


def make_labels(hands: Placed, K: Tensor, pose: Tensor, size: int) -> dict[str, Tensor]:
    """Labels and their validity; hands that do not exist are 0 with validity 0."""
    there = hands.exists
    root = hands.joints[:, :, WRIST]
    local = hands.joints - root[:, :, None]
    uv = project(hands.joints, K[:, None])
    inside = ((uv >= 0) & (uv <= size - 1)).all(-1, keepdim=True).float()
    both = there.prod(1, keepdim=True)
    hand, joint = there[..., None], there[..., None, None]
    labels = {
        "joints_img": (torch.cat((uv, local[..., 2:]), -1), joint, inside * joint),
        "joints_cam": (local, joint, joint.expand_as(inside)),
        "root_cam": (root, hand, hand),
        "rel_trans": (root[:, LEFT] - root[:, RIGHT], both, both),
        "pose": (pose, joint, joint),
        "shape": (hands.shape, hand, hand),
        "pivot_cam": (hands.pivot, hand, None),
        "root_depth": (root[..., 2], there, there),
    }
    result = {}
    for key, (value, keep, valid) in labels.items():
        result[key] = value * keep
        if valid is not None:
            result[f"{key}_valid"] = valid.clone()
    return result


def _flat(layer: ManoLayer) -> tuple[Tensor, Tensor]:
    """Rotations and betas of both hands flat and of mean shape, a batch of one."""
    faces = layer.faces
    eye = torch.eye(3, device=faces.device).expand(1, 2, 16, 3, 3)
    return eye, torch.zeros(1, 2, 10, device=faces.device)


def _hand_type(exists: list[float]) -> str:
    return ("right", "left", "interacting")[int(exists[LEFT]) + int(exists[RIGHT] and exists[LEFT])]
