"""An endless stream of synthetic two-hand pictures in the batch contract of every data set.

Legend: B samples, 2 hands (right, left), V vertices, S spheres. Metres, camera frame, crop pixels.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from common.hand.joints import LEFT, RIGHT, WRIST
from common.hand.mano import ManoLayer
from data.Synthetic import placement, poses
from data.Synthetic.draws import Draws
from data.Synthetic.labels import Placed, draw_camera, make_labels
from data.Synthetic.scene import Painter, Pair

SINGLE = 0.1  # share of pictures with one hand
VISIBLE = 0.05  # of a hand's silhouette, from which it counts as present
REACH = (0.06, 0.25)  # metres between the wrists of interacting hands


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
        """Place of the left pivot from the right one (B,3); joints relative to the pivots."""
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


def _flat(layer: ManoLayer) -> tuple[Tensor, Tensor]:
    """Rotations and betas of both hands flat and of mean shape, a batch of one."""
    faces = layer.faces
    eye = torch.eye(3, device=faces.device).expand(1, 2, 16, 3, 3)
    return eye, torch.zeros(1, 2, 10, device=faces.device)


def _hand_type(exists: list[float]) -> str:
    return ("right", "left", "interacting")[int(exists[LEFT]) + int(exists[RIGHT] and exists[LEFT])]
