"""The fixed synthetic test sets: what is in a picture is read from a file, only its looks are drawn.

tool/synthetic/make_test_set.py writes the files. The numbers in them are rounded, and all labels follow from
the rounded ones. They were placed with the stand-in hands; with MANO's, the labels are MANO's.

Legend: N samples of a set, B of a batch, 2 hands (right, left). Metres, camera frame, pixels.
"""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.hand.mano import ManoLayer
from common.utils.errors import UserError
from data.Synthetic.contrast import CONTRAST
from data.Synthetic.draws import TEST_SEED
from data.Synthetic.interactions import INTERACTIONS
from data.Synthetic.labels import Placed
from data.Synthetic.poses import VIEWS
from data.Synthetic.stream import VISIBLE, SyntheticStream

FOLDER = Path(__file__).parent / "test_sets"
SUMS = "SHA256SUMS"  # beside the sets, as `sha256sum` writes and checks it
RELATIONS = ("apart", "touching", "interlaced", "single", "no hand")
# Shape of every array after N. A hand that does not exist has pose and shape 0, a metre away; `visible` is
# the share of a hand's silhouette that the picture shows; those of WORDS are words.
SHAPES = {
    "pose": (2, 16, 3),
    "shape": (2, 10),
    "pivot": (2, 3),
    "exists": (2,),
    "visible": (2,),
    "K_orig": (3, 3),
    "affine": (2, 3),
    "box": (4,),
    "image_size": (2,),
    "relation": (),
    "kind": (),
    "view": (),
}
# Arrays of words, and what they are of.
WORDS = {"relation": RELATIONS, "kind": tuple(INTERACTIONS), "view": tuple(VIEWS)}
IDS = {"v1": f"synthetic/{TEST_SEED}", "v2": "synthetic/v2"}  # how the ids of a set begin
HIDDEN = 0.5  # of the silhouette: a hand of which less is shown is hidden
SIZES = (800.0, 1300.0)  # pixels of the crop per metre, between small, medium and large hands
NOTES = {
    "v1": "the older set, over the wearer's shoulder (cone 20, roll 20 degrees); its labels are as they "
    "always were, its pictures are painted by today's looks",
    "v2": "from any side, as the stream places hands",
}


class SyntheticTestSet(SyntheticStream):
    """The first `samples` pictures of a set whose view is this one ("any": all); iterable over batches.

    The sets are mixed evenly, so that the first pictures have all their strata in fair shares.
    """

    def __init__(
        self,
        mano: ManoLayer,
        batch_size: int,
        name: str = "v2",
        samples: int = 512,
        view: str = "any",
        rank: int = 0,
        world: int = 1,
        folder: Path = FOLDER,
    ):
        self.name, self.scenes = name, read_scenes(name, folder)
        rows = np.arange(len(self.scenes["view"]))
        if view != "any":
            rows = rows[self.scenes["view"] == view]
        if not len(rows):
            views = ", ".join(np.unique(self.scenes["view"]).tolist())
            raise UserError(f"synthetic_view={view}: the test set {name} has only the views any, {views}")
        self.rows = rows[:samples].tolist()
        without = frozenset({CONTRAST})  # its pictures are older
        super().__init__(
            mano, batch_size, TEST_SEED, len(self.rows), view, rank=rank, world=world, without=without
        )

    def notes(self) -> list[str]:
        """What a reader of results should know of these pictures."""
        count = f"{self.samples} of {len(self.scenes['view'])} pictures, view {self.view}"
        return [f"synthetic test set {self.name}: {count}; {NOTES[self.name]}"]

    def strata(self) -> dict[str, list[str]]:
        """{name: ids}, see RELATIONS, HIDDEN and SIZES; every view by its name."""
        scenes = {key: values[self.rows] for key, values in self.scenes.items()}
        exists, ids = scenes["exists"] > 0, np.array(self.ids())
        hidden = (exists & (scenes["visible"] < HIDDEN)).any(1)
        groups = {name: scenes["relation"] == name for name in RELATIONS}
        groups["a hand hidden"] = hidden
        for view in np.unique(self.scenes["view"]).tolist():
            groups[f"view {view}"] = scenes["view"] == view
        size = pixels_per_metre(scenes)
        low, high = SIZES
        groups[f"up to {low:.0f} px/m"] = (size > 0) & (size <= low)
        groups[f"{low:.0f} to {high:.0f} px/m"] = (size > low) & (size <= high)
        groups[f"over {high:.0f} px/m"] = size > high
        return {name: ids[rows].tolist() for name, rows in groups.items()}

    def scene(self, indices: Sequence[int]) -> tuple[Placed, dict[str, Tensor]]:
        """The stored hands, and the camera keys of the contract."""
        stored = {key: self._stored(key, indices) for key in SHAPES if key not in WORDS}
        rotmat, shape, pivot = self.mano.rotations(stored["pose"]), stored["shape"], stored["pivot"]
        verts = self.mano.skin(rotmat, shape) - self.mano.rest_wrist(shape)[:, :, None]
        joints = self.mano.joints(verts) + pivot[:, :, None]
        hands = Placed(
            rotmat=rotmat,
            shape=shape,
            verts=verts + pivot[:, :, None],
            joints=joints,
            pivot=pivot,
            centres=self.spheres @ joints,
            exists=stored["exists"],
            kind=self._which("kind", indices),
            view=self._which("view", indices),
            K_orig=stored["K_orig"],
            image_size=stored["image_size"],
        )
        crop = torch.eye(3, device=pivot.device).repeat(len(indices), 1, 1)
        crop[:, :2] = stored["affine"]
        camera = {key: stored[key] for key in ("K_orig", "affine", "box", "image_size")}
        return hands, {"K": crop @ stored["K_orig"], **camera}

    def batch(self, indices: Sequence[int]) -> dict:
        """As the stream's; the pose, and whether a hand counts as present, are those of the file: neither is
        left to a machine's rounding."""
        exists = self._stored("exists", indices)
        shown = (self._stored("visible", indices) >= VISIBLE).float()
        pose = self._stored("pose", indices) * exists[..., None, None]
        return {**super().batch(indices), "pose": pose, "present": shown * exists}

    def _stored(self, key: str, indices: Sequence[int]) -> Tensor:
        """Rows of a numeric array, float32."""
        return torch.from_numpy(self.scenes[key][list(indices)]).float().to(self.radii.device)

    def _which(self, key: str, indices: Sequence[int]) -> Tensor:
        """Rows of an array of words as int64 places in the tables of today."""
        words = self.scenes[key][list(indices)].tolist()
        return torch.tensor([WORDS[key].index(word) for word in words], device=self.radii.device)

    def _epoch_indices(self) -> list[int]:
        return self.rows

    def _ids(self, indices: Sequence[int]) -> list[str]:
        return [f"{IDS[self.name]}/{index:06d}" for index in indices]


def read_scenes(name: str, folder: Path = FOLDER) -> dict[str, NDArray]:
    """The arrays of a set (N, ...), see SHAPES. Raises UserError where the file is not the one it was."""
    path = folder / f"{name}.npz"
    try:
        content, sums = path.read_bytes(), (folder / SUMS).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the test set {path}: {error.strerror}") from None
    if f"{hashlib.sha256(content).hexdigest()}  {path.name}" not in sums.splitlines():
        raise UserError(
            f"{path} is not the test set that {SUMS} beside it names (SHA-256): restore both, "
            f"`git checkout -- {folder.name}` in {folder.parent}"
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {key: file[key] for key in SHAPES}
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no test set of this code: {error}") from None


def pixels_per_metre(scenes: dict[str, NDArray]) -> NDArray[np.float64]:
    """How large hands are drawn (N,): pixels of the crop per metre at the mean depth of the wrists' pivots of
    the hands that exist; 0 without one."""
    exists = scenes["exists"] > 0
    depth = (scenes["pivot"][..., 2] * exists).sum(1) / np.maximum(exists.sum(1), 1)
    turn = np.linalg.det(scenes["affine"][..., :2].astype(np.float64)) ** 0.5  # also of a rotated crop
    scale = turn * scenes["K_orig"][:, 0, 0]
    return np.where(exists.any(1), scale / np.maximum(depth, 1e-6), 0.0)
