"""InterHand2.6M v1.0 (Moon et al., ECCV 2020) as contract samples."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.hand.mano import ManoLayer
from common.utils.errors import UserError
from data.augment import AugmentSettings, turned, turned_pose
from data.base import HandDataset, Records
from data.cache import user_cache
from data.InterHand26M import boxes, files, index
from data.json_files import HAND_TYPES
from data.pack import Pack, archives, parts, reach

CHOICES = {"split": files.SPLITS, "subset": ("H", "M", "H+M"), "hands": ("IH", "SH", "all")}
TOTALS = {"train": 1_361_062, "val": 380_125, "test": 849_160}  # v1.0, 5 fps, H+M
# Training ids below this one are machine annotated, 76,457 of them by humans as well (counted in v1.0).
FIRST_HUMAN_ONLY = {"train": 909_069}
MAX_BETA = 3.0  # a fit with a larger shape parameter has failed in shape
FAR = 0.015  # metres between fits and annotated joints that no error of fitting explains
CACHE = "lgnet_cache"  # folder beside the annotations


class InterHand26M(HandDataset):
    """One sample per annotation; see data/base.py for the contract.

    The files are read once into arrays that every process maps (index.py); this object holds which of
    their rows it gives, and no record.

    mano: the hand layer, needed here for the boxes and the wrists of the fits only.
    interhand_anno_dir: holds {train,val,test}/InterHand2.6M_*.json (or annotations/ above them).
    interhand_images_path: holds {train,val,test}/Capture* (or images/ above them); a part of
        the download works, missing pictures are counted and left out. Or a pack of tool/pack.py.
    root_net_output_path: RootNet's folder or file; at val and test time its boxes are used as they are.
    subset: human ('H') or machine ('M') annotated, or both. hands: 'IH', 'SH' or 'all'.
    use_fits: read the MANO fits; switch it off where `mano` is not the model they were made with.
    limit: keep the first so many. log: receives the counts line by line.
    cache_dir: where the arrays are kept; None: beside the annotations, or else in the user's own folder.
    """

    def __init__(
        self,
        mano: ManoLayer,
        interhand_anno_dir: str | Path,
        interhand_images_path: str | Path,
        root_net_output_path: str | Path | None = None,
        split: str = "train",
        subset: str = "H+M",
        hands: str = "all",
        hand_type_valid_only: bool = True,
        use_fits: bool = True,
        limit: int | None = None,
        augment: AugmentSettings | None = None,
        seed: int = 0,
        log: Callable[[str], None] = print,
        cache_dir: str | Path | None = None,
    ):
        super().__init__(augment, seed)
        _require_choices({"split": split, "subset": subset, "hands": hands})
        folder = files.find_annotations(interhand_anno_dir, split)
        self.split, self.log = split, log
        self.images = files.find_images(interhand_images_path, split)
        self._require_human_ids(folder, subset)
        places = [folder.parent / CACHE, user_cache(folder.parent)]
        if cache_dir is not None:
            places = [Path(cache_dir).expanduser()]
        self._read(folder, use_fits, places)
        self._keep_subset(subset)
        self._keep_hands(hands, hand_type_valid_only)
        self._keep_pictures(places)
        if limit is not None:
            self._keep(f"limit {limit}", np.arange(len(self)) < limit)
        self._require_fitting_hands(mano)
        self.placed = boxes.load_placed(mano, self.index, self.fits, places, log)
        self._read_rootnet(root_net_output_path, places)
        self._find_packed()
        self._say_counts()
        del self.log  # workers need no log, and it may not travel to them

    def __len__(self) -> int:
        return len(self.rows)

    def ids(self) -> list[str]:
        """Annotation ids, in order."""
        return self._column("id").astype(str).tolist()

    def notes(self) -> list[str]:
        """Which boxes the crops are cut by."""
        return [f"boxes: {self.about_boxes}"]

    def record(self, index: int) -> dict[str, Any]:
        """One raw record, in the camera of its picture (see data/base.py)."""
        return {key: values[0] for key, values in self.records([index])[0].items()}

    def records(self, indices: Sequence[int]) -> tuple[Records, list[int], list[str]]:
        """Of some samples, each in the camera of its picture; reads no picture, so none is at fault."""
        chosen = np.asarray(indices)
        rows = self.rows[chosen]
        frame, camera = self.index["frame"][rows], self.index["camera"][rows]
        rotation, translation = self.index["rotation"][camera], self.index["translation"][camera]
        shape = self.fits["shape"][frame]
        hands = boxes.hands_of(self.index["hand_type"][rows])
        fit_valid = self.fits["fit_valid"][frame] & hands
        shape_valid = fit_valid & (np.abs(shape) <= MAX_BETA).all(-1)
        joints = turned(self.index["joints"][frame], rotation) + translation[:, None, None]
        records = {
            "id": self.index["id"][rows].astype(str).tolist(),
            "image_path": self._paths(rows),
            "hand_type": [HAND_TYPES[number] for number in self.index["hand_type"][rows].tolist()],
            "human_annotated": self.index["human"][rows].tolist(),
            "hand_type_valid": self.index["hand_type_valid"][rows],
            "K_orig": self.index["K"][camera],
            "image_size": self.index["size"][rows],
            "joints": joints,
            "joints_valid": self.index["joints_valid"][frame],
            "in_picture": self.index["in_picture"][rows],
            "pose": turned_pose(self.fits["pose"][frame], rotation),
            "pose_valid": fit_valid,
            "shape": shape,
            "shape_valid": shape_valid,
            "pivot_cam": turned(self.placed["pivot"][frame], rotation) + translation[:, None],
            "present": hands,
            **self._boxes_and_depths(chosen, rows),
        }
        if self.pack is not None:
            packed = self.packed_row[chosen]
            records["image_path"] = [self.pack.name(row) for row in packed]
            records |= self.pack.places(packed)
        return records, list(range(len(rows))), []

    def content(self, records: Records, row: int) -> NDArray[np.uint8]:
        """The bytes of a picture, from its own file or the pack."""
        if self.pack is None:
            return super().content(records, row)
        return self.pack.read(records["packed_row"][row])

    def _column(self, name: str) -> NDArray:
        """A column of the index for the rows that are kept."""
        return self.index[name][self.rows]

    def _paths(self, rows: NDArray[np.int32]) -> list[str]:
        """The files of some pictures."""
        folders = self.index["folders"][self.index["folder"][rows]].tolist()
        files = self.index["file"][rows].tolist()
        root = str(self.images)
        return [
            os.path.join(root, folder.decode(), file.decode())
            for folder, file in zip(folders, files, strict=True)
        ]

    def _read(self, folder: Path, use_fits: bool, places: list[Path]) -> None:
        """Map the files' arrays; all rows are kept so far."""
        self.index = index.load_index(folder, self.split, places, self.log)
        self.rows = np.arange(len(self.index["id"]), dtype=np.int32)
        total, whole = len(self), TOTALS[self.split]
        note = "" if total == whole else f" (v1.0 at 5 fps has {whole:,}: this is another set or a part)"
        self.log(f"InterHand2.6M {self.split}: {total:,} annotations{note}")
        self.fits = index.load_fits(folder, self.split, self.index, use_fits, places, self.log)

    def _say_counts(self) -> None:
        with_fit = self.fits["fit_valid"][self._column("frame")]
        right, left = (with_fit & boxes.hands_of(self._column("hand_type"))).sum(0)
        self.log(f"  with a fit: {right:,} right, {left:,} left hands")
        self.log(f"  annotated by humans: {self._column('human').sum():,}")

    def _keep(self, what: str, keep: NDArray[np.bool_]) -> None:
        """Drop the records where `keep` (N,) is not set, and say how many are left."""
        self.rows = self.rows[keep]
        self.log(f"  {what}: {len(self):,} ({len(keep) - len(self):,} left out)")
        if len(self) == 0:
            raise UserError(f"InterHand2.6M {self.split}: no record is left after the step '{what}'")

    def _require_human_ids(self, folder: Path, subset: str) -> None:
        """Refuse a subset that the files do not tell from the others."""
        if not self._is_whole(subset) and files.human_file(folder, self.split) is None:
            raise UserError(
                f"subset {subset} of {self.split} needs aid_human_annot_{self.split}.txt (shipped with EANet "
                "and InterWild) in interhand_anno_dir: put it there or choose subset H+M"
            )

    def _is_whole(self, subset: str) -> bool:
        return subset == "H+M" or (self.split == "val" and subset == "M")  # val has no human annotation

    def _keep_subset(self, subset: str) -> None:
        """Human ('H') or machine ('M') annotated records; in the training split some are both."""
        human = self._column("human")
        keep = human
        if self._is_whole(subset):
            keep = np.ones(len(self), bool)
        elif subset == "M":
            keep = ~human | (self._column("id") < FIRST_HUMAN_ONLY.get(self.split, 0))
        self._keep(f"subset {subset}", keep)

    def _keep_hands(self, hands: str, valid_only: bool) -> None:
        interacting = self._column("hand_type") == boxes.INTERACTING
        wanted = {"IH": interacting, "SH": ~interacting, "all": np.ones_like(interacting)}
        self._keep(f"hands {hands}", wanted[hands])
        if valid_only:
            self._keep("hand_type_valid", self._column("hand_type_valid"))

    def _keep_pictures(self, places: list[Path]) -> None:
        """Records whose camera and joints are known, and whose picture is on the disk or in the pack."""
        known = (self._column("frame") >= 0) & (self._column("camera") >= 0)
        self._keep("camera and 3-D joints known", known)
        self.pack = None
        if archives(self.images, self.split):
            self.pack = Pack(self.images, self.split, places, self.log)
        if self.pack is None:
            found = index.load_on_disk(self.images, self.index, places, self.log)[self.rows]
        else:
            found = index.rows_of(self._column("id"), self.pack.ids) >= 0
        self._keep(f"picture in {self.images}", found)

    def _find_packed(self) -> None:
        """Where the samples' pictures lie in the pack; UserError where it holds too little of them."""
        if self.pack is None:
            return
        self.packed_row = index.rows_of(self._column("id"), self.pack.ids)
        everything = np.arange(len(self))
        box = self._boxes_and_depths(everything, self.rows)["box"]
        self.pack.require(self.packed_row, *parts(box, self._column("size"), reach(self.augment)))

    def _require_fitting_hands(self, mano: ManoLayer) -> None:
        """Refuse fits that were not made with this hand model: posed on it, they miss the joints."""
        used = np.zeros(len(self.index["joints"]), bool)
        used[self._column("frame")] = True
        distance = boxes.fit_distance(mano, self.index, self.fits, np.flatnonzero(used))
        if distance is None:
            return
        if distance > FAR:
            raise UserError(
                f"InterHand2.6M {self.split}: the MANO fits, posed on the {mano.name}, lie "
                f"{1000 * distance:.0f} mm from the annotated joints: set smplx_path to the MANO files, "
                "or --set use_fits=false to use the joints alone"
            )
        self.log(f"  fits, posed on the {mano.name}: {1000 * distance:.1f} mm from the annotated joints")

    def _read_rootnet(self, path: str | Path | None, places: list[Path]) -> None:
        """RootNet's depths of the wrists; in val and test also its boxes, in place of ours."""
        file = None if path is None else files.find_rootnet(path, self.split)
        self.rootnet = None
        self.about_boxes = "around the true hands"
        if file is None:
            self.log("  RootNet: not used")
            return
        self.rootnet = index.load_rootnet(file, self.split, places, self.log)
        self.rootnet_row = index.rows_of(self._column("id"), self.rootnet["id"])
        known = self.rootnet_row >= 0
        self.log(f"  RootNet: {known.sum():,} of {len(self):,} records")
        self.its_boxes = np.zeros(len(self), bool)
        if self.split == "train" or not known.any():
            return
        its = self.rootnet["box"][self.rootnet_row, 2:]
        # RootNet has no box where it had nothing to enclose
        self.its_boxes = known & (its.min(-1) > 0)
        if self.its_boxes.any():
            ours = self.placed["box"][self.rows[self.its_boxes], 2]
            wider = (its[self.its_boxes].max(-1) / ours).mean()
            self.about_boxes = (
                f"RootNet's for {self.its_boxes.sum():,} of {len(self):,} samples, on average "
                f"{wider:.2f} times as wide as ours; ours, around the true hands, for the others"
            )
            self.log(f"  boxes: {self.about_boxes}")

    def _boxes_and_depths(self, chosen: NDArray[np.int64], rows: NDArray[np.int32]) -> Records:
        """Square boxes, and RootNet's depths of the wrists with whether they are any."""
        box = self.placed["box"][rows]
        depth, valid = np.zeros((len(rows), 2)), np.zeros((len(rows), 2))
        if self.rootnet is not None and len(self.rootnet["id"]):
            its = self.rootnet_row[chosen]
            known = (its >= 0)[:, None]
            box = np.where(self.its_boxes[chosen][:, None], self.rootnet["box"][its], box)
            depth = np.where(known, self.rootnet["depth"][its], 0)
            valid = np.where(known, self.rootnet["valid"][its], 0)
        return {"box": box, "root_depth": depth, "root_depth_valid": valid}


def _require_choices(given: dict[str, str]) -> None:
    for name, value in given.items():
        if value not in CHOICES[name]:
            raise UserError(f"{name} is '{value}': choose one of {', '.join(CHOICES[name])}")
