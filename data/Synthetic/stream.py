"""An endless stream of synthetic two-hand pictures, as batches of the contract's raw facts (data/base.py).

Legend: B samples, 2 hands (right, left), V vertices, S spheres. Metres, camera frame, crop pixels.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from common.hand.joints import HANDS, LEFT, RIGHT, WRIST
from common.hand.mano import ManoLayer
from data.Synthetic import placement, poses
from data.Synthetic.contrast import CONTRAST
from data.Synthetic.draws import Draws
from data.Synthetic.families import family_tables
from data.Synthetic.interactions import ANY, family_weights, interaction_tables
from data.Synthetic.labels import Placed, draw_camera, draw_lens, in_front, make_labels
from data.Synthetic.scene import Painter

EXISTS = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))  # right, left: both, one, none of the hands,
EXISTS_WEIGHTS = (0.7, 0.135, 0.135, 0.03)  # so often; this and the next five by eye
ANYTHING = 0.6  # share of single hands with any family of shapes
VISIBLE = 0.05  # of a hand's silhouette, from which it counts as present
CHILD = 0.12  # share of children's hands
WOMAN = 0.4  # first beta, whose 0 is a man's hand, on average
REACH = (0.04, 0.6)  # metres between the wrists of two hands


class SyntheticStream:
    """Iterable over batches; sample i depends on (seed, i) alone.

    Pictures are made on the device of `mano`. samples: how many make an epoch, of all processes, which
    changes no sample; view: one of poses.VIEWS or "any" of them; cone: how far (degrees) the camera is
    tilted from there; roll: rotation in the picture plane, at most so many degrees either way.
    Of `world` processes, the one of this `rank` makes every world-th batch of the epoch.
    without: groups of looks (scene.GROUPS) to leave out; it moves no hand.
    """

    def __init__(
        self,
        mano: ManoLayer,
        batch_size: int,
        seed: int,
        samples: int,
        view: str = "any",
        cone: float = 60.0,
        roll: float = 30.0,
        rank: int = 0,
        world: int = 1,
        without: frozenset[str] = frozenset(),
    ):
        self.mano, self.batch_size, self.seed, self.samples = mano, batch_size, seed, samples
        self.view, self.cone, self.roll = view, cone, roll
        self.rank, self.world = rank, world
        self.epoch = self.start = 0
        device = mano.faces.device
        flat = torch.eye(3, device=device).expand(1, 2, 16, 3, 3)
        rest = mano.skin(flat, torch.zeros(1, 2, 10, device=device))
        joints = mano.joints(rest)[0]
        self.axes = poses.finger_axes(mano.rest_joints[RIGHT])
        self.interactions = interaction_tables(device)
        self.families = family_tables(device)
        self.any_family = torch.tensor(family_weights(ANY), device=device)
        self.spheres = placement.sphere_weights(device)
        self.radii = placement.sphere_radii(self.spheres @ joints[RIGHT], rest[0, RIGHT])
        self.painter = Painter(rest[0], joints, mano.faces, self.radii, without)

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """Epoch e starts at sample e * samples; `batch` > 0 resumes it after so many batches."""
        self.epoch, self.start = epoch, batch

    def __iter__(self) -> Iterator[dict]:
        epoch = self._epoch_indices()
        for start in self._batch_starts()[self.start :]:
            yield self.batch(epoch[start : start + self.batch_size])

    def __len__(self) -> int:
        """This process's batches of a whole epoch."""
        return len(self._batch_starts())

    def ids(self) -> list[str]:
        """The ids of the epoch's samples, in order, whatever this process's share."""
        return self._ids(self._epoch_indices())

    def select(self, ids: Sequence[str]) -> dict:
        """Some samples of the epoch as one batch."""
        index_of = dict(zip(self.ids(), self._epoch_indices(), strict=True))
        return self.batch([index_of[name] for name in ids])

    def strata(self) -> dict[str, list[str]]:
        """Groups of samples that results are given for, {name: ids}; none of a stream."""
        return {}

    def notes(self) -> list[str]:
        """What a reader of results should know of these pictures."""
        return [
            f"synthetic pictures: seed {self.seed}, view {self.view}, cone {self.cone:g} degrees, "
            f"roll {self.roll:g} degrees"
        ]

    def _epoch_indices(self) -> range:
        first = self.epoch * self.samples
        return range(first, first + self.samples)

    def _batch_starts(self) -> range:
        """Where this process's batches begin in the epoch."""
        return range(self.rank * self.batch_size, self.samples, self.world * self.batch_size)

    def _ids(self, indices: Sequence[int]) -> list[str]:
        return [f"synthetic/{self.seed}/{index:06d}" for index in indices]

    @torch.no_grad()
    def batch(self, indices: Sequence[int]) -> dict:
        """The samples with these indices as one batch of raw facts (data/base.py)."""
        hands, camera = self.scene(indices)
        picture, visible = self.paint(indices, hands, camera["K"])
        labels = make_labels(hands, camera["K"], self.mano.pose(hands.rotmat))
        return {
            "img": picture,
            **labels,
            **camera,
            "present": (visible >= VISIBLE).float() * hands.exists,
            "hand_type": _hand_types(hands.exists),
            "brightness": 255 * picture.mean((1, 2, 3)),
            "hand_type_valid": torch.ones_like(picture[:, 0, 0, 0]),
            "human_annotated": [True] * len(indices),
            "id": self._ids(indices),
        }

    def paint(self, indices: Sequence[int], hands: Placed, K: Tensor) -> tuple[Tensor, Tensor]:
        """The samples' pictures (B,3,H,W) and the visible share (B,2) of each hand's silhouette."""
        return self.painter(self.draws(indices, "looks"), self.draws(indices, CONTRAST), hands, K)

    def draws(self, indices: Sequence[int], purpose: str) -> Draws:
        """The samples' own numbers for one of PURPOSES."""
        return Draws(self.seed, indices, purpose, self.radii.device)

    def scene(self, indices: Sequence[int]) -> tuple[Placed, dict[str, Tensor]]:
        """The samples' hands, and the camera keys of the contract."""
        draws = self.draws(indices, "scene")
        hands = self.place(draws)
        return hands, draw_camera(draws, hands)

    def place(self, draws: Draws) -> Placed:
        """Draw poses, shapes and places of both hands, and the picture that they are taken in."""
        kind = draws.pick(self.interactions["weight"])  # (B,)
        exists = draws.tensor(EXISTS)[draws.pick(draws.tensor(EXISTS_WEIGHTS))]  # (B,2)
        drawn = self._roles(draws, kind)
        # a hand alone does anything more often
        alone = draws.chance(ANYTHING) * (exists.sum(1) < 2)
        drawn["families"] = torch.where(alone[:, None, None] > 0, self.any_family, drawn["families"])
        seen_from, view = poses.view_rotation(draws, self.view, self.cone, self.roll)
        rotmat = self._rotations(draws, drawn, view)
        shape = self._shapes(draws)
        verts = self.mano.skin(rotmat, shape) - self.mano.rest_wrist(shape)[:, :, None]
        joints = self.mano.joints(verts)
        shift = self._approach(draws, drawn, view, joints)
        place = torch.stack((torch.zeros_like(shift), shift), 1)  # (B,2,3)
        # where there is no hand, the camera looks to where both would have been
        framed = torch.where(exists.any(1, keepdim=True), exists, 1)
        middle = ((verts.mean(2) + place) * framed[..., None]).sum(1) / framed.sum(1, keepdim=True)
        lens = draw_lens(draws)
        target = in_front(lens.ray, lens.depth, joints + (place - middle[:, None])[:, :, None])
        pivot = place + (target - middle)[:, None]
        joints, verts = joints + pivot[:, :, None], verts + pivot[:, :, None]
        centres = self.spheres @ joints
        return Placed(
            rotmat, shape, verts, joints, pivot, centres, exists, kind, seen_from, lens.K, lens.picture_size
        )

    def _shapes(self, draws: Draws) -> Tensor:
        """Betas (B,2,10) of women's, men's and children's hands: the first one makes a hand smaller."""
        shape = draws.normal(1, 10, std=0.8, limit=2.5) + draws.normal(2, 10, std=0.1)
        child = draws.chance(CHILD, 1) * draws.uniform(1, low=1.0, high=2.5)
        shape[:, :, 0] += WOMAN + child
        return shape

    def _roles(self, draws: Draws, kind: Tensor) -> dict[str, Tensor]:
        """What a kind (B,) says of the right and the left hand (B,2,...) and of both (B,...)."""
        drawn = {name: rows[kind] for name, rows in self.interactions.items()}
        swapped = draws.chance(0.5)
        for name in ("fingers", "palms", "anchor", "families"):
            rows = drawn[name]
            change = swapped.view(-1, *[1] * (rows.dim() - 1)) > 0
            drawn[name] = torch.where(change, rows.flip(1), rows)
        # mirroring in x and exchanging the hands leaves x as it was
        flip = torch.stack((torch.ones_like(swapped), 1 - 2 * swapped, 1 - 2 * swapped), -1)
        drawn["offset"] = drawn["offset"] * flip
        return drawn

    def _rotations(self, draws: Draws, drawn: dict[str, Tensor], view: Tensor) -> Tensor:
        """(B,2,16,3,3), the wrist in the camera, the mean pose included."""
        same = draws.chance(0.4, 1) > 0  # hands with the same choice often do the same
        alike = same & (drawn["families"][:, RIGHT] == drawn["families"][:, LEFT]).all(-1, keepdim=True)
        family = draws.pick(drawn["families"], 2)
        family = torch.where(alike, family[:, :1], family)
        shapes = {name: rows[family] for name, rows in self.families.items()}
        fingers = poses.finger_rotations(draws, shapes, self.axes)
        which = draws.one_of(2, 2)
        which = torch.where(alike, which[:, :1], which)
        palm = drawn["palms"].gather(2, which[..., None, None].expand(-1, -1, 1, 3)).squeeze(2)
        wrist = poses.facing(drawn["fingers"], palm)
        wrist = poses.random_turn(draws, drawn["turn"][:, None], 2) @ wrist
        rotmat = poses.mirror_left(torch.cat((wrist[:, :, None], fingers), 2))
        rotmat[:, :, 0] = view[:, None] @ rotmat[:, :, 0]
        return rotmat

    def _approach(self, draws: Draws, drawn: dict[str, Tensor], view: Tensor, joints: Tensor) -> Tensor:
        """Place of the left pivot from the right one (B,3); joints relative to the pivots."""
        offset = drawn["offset"] + draws.normal(3, limit=2) * drawn["spread"]
        anchors = drawn["anchor"][:, :, None] @ joints  # (B,2,1,3)
        shift = anchors[:, RIGHT, 0] - anchors[:, LEFT, 0] + (view @ (offset / 1000)[..., None])[..., 0]
        between = joints[:, LEFT, WRIST] + shift - joints[:, RIGHT, WRIST]
        length = between.norm(dim=-1, keepdim=True)
        shift = shift + between * (length.clamp(*REACH) / length - 1)
        centres = self.spheres @ joints
        moved = torch.stack((centres[:, RIGHT], centres[:, LEFT] + shift[:, None]), 1)
        away = functional.normalize(drawn["offset"], dim=-1) * (1 - drawn["locked"][:, None])
        away = (view @ away[..., None])[..., 0]
        return shift + placement.separate(moved, self.radii, drawn["touch"], away)


def _hand_types(exists: Tensor) -> list[str]:
    """(B,2) -> "right", "left", "interacting" or "none" of each sample."""
    names = []
    for right, left in (exists > 0).tolist():
        if right and left:
            names.append("interacting")
        elif right or left:
            names.append(HANDS[RIGHT] if right else HANDS[LEFT])
        else:
            names.append("none")
    return names
