"""InterHand2.6M v1.0 (Moon et al., ECCV 2020) as contract samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.hand.mano import ManoLayer
from common.utils.errors import UserError
from common.utils.image import square_box
from data.augment import AugmentSettings, turned_pose
from data.base import HandDataset
from data.InterHand26M import files, records
from data.json_files import HAND_TYPES

CHOICES = {"split": files.SPLITS, "subset": ("H", "M", "H+M"), "hands": ("IH", "SH", "all")}
MAX_BETA = 3.0  # a fit with a larger shape parameter has failed in shape
FAR = 0.015  # metres between fits and annotated joints that no error of fitting explains


class InterHand26M(HandDataset):
    """One sample per annotation; see data/base.py for the contract.

    mano: the hand layer, needed here for the boxes and the wrists of the fits only.
    interhand_anno_dir: holds {train,val,test}/InterHand2.6M_*.json (or annotations/ above them).
    interhand_images_path: holds {train,val,test}/Capture* (or images/ above them); a part of
        the download works, missing pictures are counted and left out.
    root_net_output_path: RootNet's folder or file; at val and test time its boxes are used as they are.
    subset: human ('H') or machine ('M') annotated, or both. hands: 'IH', 'SH' or 'all'.
    use_fits: read the MANO fits; switch it off where `mano` is not the model they were made with.
    limit: keep the first so many. log: receives the counts line by line.
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
    ):
        super().__init__(augment, seed)
        for name, value in (("split", split), ("subset", subset), ("hands", hands)):
            if value not in CHOICES[name]:
                raise UserError(f"{name} is '{value}': choose one of {', '.join(CHOICES[name])}")
        folder = files.find_annotations(interhand_anno_dir, split)
        self.split, self.log = split, log
        self.images = files.find_images(interhand_images_path, split)
        self.columns = files.read_data(files.annotation_file(folder, split, "data"))
        total, whole = len(self), records.TOTALS[split]
        note = "" if total == whole else f" (v1.0 at 5 fps has {whole:,}: this is another set or a part)"
        log(f"InterHand2.6M {split}: {total:,} annotations{note}")
        self._keep_subset(files.read_human_ids(folder, split), subset)
        self._keep_hands(hands, hand_type_valid_only)
        self._join(folder, use_fits)
        self._keep_pictures(limit)
        self._require_fitting_hands(mano)
        self._place(mano)
        self._read_rootnet(root_net_output_path)
        right, left = (self.frames.fit_valid[self.columns["frame_row"]] & self.columns["hands"]).sum(0)
        log(f"  with a fit: {right:,} right, {left:,} left hands")
        log(f"  annotated by humans: {self.columns['human'].sum():,}")
        del self.log  # workers need no log, and it may not travel to them

    def __len__(self) -> int:
        return len(self.columns["id"])

    def ids(self) -> list[str]:
        """Annotation ids, in order."""
        return self.columns["id"].astype(str).tolist()

    def notes(self) -> list[str]:
        """Which boxes the crops are cut by."""
        return [f"boxes: {self.about_boxes}"]

    def record(self, index: int) -> dict[str, Any]:
        """One raw record, in the camera of its picture (see data/base.py)."""
        row = {key: column[index] for key, column in self.columns.items()}
        frame, camera = row["frame_row"], row["camera_row"]
        rotation, translation = self.cameras.rotation[camera], self.cameras.translation[camera]
        shape = self.frames.shape[frame]
        fit_valid = self.frames.fit_valid[frame] & row["hands"]
        shape_valid = fit_valid & (np.abs(shape) <= MAX_BETA).all(-1)
        return {
            "id": str(row["id"]),
            "image_path": self.images / row["file"].decode(),
            "hand_type": HAND_TYPES[row["hand_type"]],
            "human_annotated": bool(row["human"]),
            "hand_type_valid": row["hand_type_valid"],
            "K_orig": self.cameras.K[camera],
            "image_size": row["size"],
            "box": row["box"],
            "joints": self.frames.joints[frame] @ rotation.T + translation,
            "joints_valid": self.frames.joints_valid[frame],
            "in_picture": row["in_picture"],
            "pose": turned_pose(self.frames.pose[frame], rotation),
            "pose_valid": fit_valid,
            "shape": shape,
            "shape_valid": shape_valid,
            "pivot_cam": self.pivots[frame] @ rotation.T + translation,
            "root_depth": row["root_depth"],
            "root_depth_valid": row["root_depth_valid"],
            "present": row["hands"],
        }

    def _keep(self, what: str, keep: NDArray[np.bool_]) -> None:
        """Drop the records where `keep` (N,) is not set, and say how many are left."""
        self.columns = {key: column[keep] for key, column in self.columns.items()}
        self.log(f"  {what}: {len(self):,} ({len(keep) - len(self):,} left out)")
        if len(self) == 0:
            raise UserError(f"InterHand2.6M {self.split}: no record is left after the step '{what}'")

    def _keep_subset(self, human_ids: NDArray[np.int64] | None, subset: str) -> None:
        ids = self.columns["id"]
        human = None if human_ids is None else np.isin(ids, human_ids)
        self.columns["human"] = np.zeros(len(ids), bool) if human is None else human
        self._keep(f"subset {subset}", records.in_subset(ids, human, subset, self.split))

    def _keep_hands(self, hands: str, valid_only: bool) -> None:
        interacting = self.columns["hand_type"] == records.INTERACTING
        wanted = {"IH": interacting, "SH": ~interacting, "all": np.ones_like(interacting)}
        self._keep(f"hands {hands}", wanted[hands])
        self.columns["hands"] = records.hands_of(self.columns["hand_type"])
        if valid_only:
            self._keep("hand_type_valid", self.columns["hand_type_valid"])

    def _join(self, folder: Path, use_fits: bool) -> None:
        """Attach time steps and cameras to the records."""
        self.frames = records.load_frames(folder, self.split, use_fits, self.log)
        self.cameras = records.load_cameras(folder, self.split)
        columns = self.columns
        capture = columns.pop("capture")
        frame = records.rows_of(capture, columns.pop("frame"), self.frames.row)
        camera = records.rows_of(capture, columns.pop("camera"), self.cameras.row)
        columns["frame_row"], columns["camera_row"] = frame, camera
        self._keep("camera and 3-D joints known", (frame >= 0) & (camera >= 0))

    def _keep_pictures(self, limit: int | None) -> None:
        self._keep(f"picture in {self.images}", records.on_disk(self.images, self.columns["file"]))
        if limit is not None:
            self._keep(f"limit {limit}", np.arange(len(self)) < limit)

    def _require_fitting_hands(self, mano: ManoLayer) -> None:
        """Refuse fits that were not made with this hand model: posed on it, they miss the joints."""
        distance = records.fit_distance(mano, self.frames, self.columns["frame_row"])
        if distance is None:
            return
        if distance > FAR:
            raise UserError(
                f"InterHand2.6M {self.split}: the MANO fits, posed on the {mano.name}, lie "
                f"{1000 * distance:.0f} mm from the annotated joints: set smplx_path to the MANO files, "
                "or --set use_fits=false to use the joints alone"
            )
        self.log(f"  fits, posed on the {mano.name}: {1000 * distance:.1f} mm from the annotated joints")

    def _place(self, mano: ManoLayer) -> None:
        """Boxes of the records, and the world position about which each fit's wrist rotates."""
        self.columns["box"] = square_box(records.boxes(mano, self.columns, self.frames, self.cameras))
        self.about_boxes = "around the true hands"
        shape = torch.from_numpy(self.frames.shape).float().to(mano.template.device)
        self.pivots = mano.rest_wrist(shape).cpu().numpy() + self.frames.trans  # (F,2,3)

    def _read_rootnet(self, path: str | Path | None) -> None:
        """RootNet's depths of the wrists; in val and test also its boxes, in place of ours."""
        depth, valid = np.zeros((len(self), 2)), np.zeros((len(self), 2), bool)
        self.columns["root_depth"], self.columns["root_depth_valid"] = depth, valid
        file = None if path is None else files.find_rootnet(path, self.split)
        if file is None:
            self.log("  RootNet: not used")
            return
        rows = files.read_rootnet(file)
        indices = [index for index, name in enumerate(self.columns["id"].tolist()) if name in rows]
        for index in indices:
            row = rows[self.columns["id"][index]]
            depth[index], valid[index] = row.depth, row.valid
        self.log(f"  RootNet: {len(indices):,} of {len(self):,} records")
        if self.split != "train":
            self._take_boxes({index: rows[self.columns["id"][index]].box for index in indices})

    def _take_boxes(self, boxes: dict[int, NDArray[np.float64]]) -> None:
        """Replace the boxes of some records by RootNet's, which are already squared and enlarged."""
        ratios = []
        for index, box in boxes.items():
            if box[2:].min() > 0:  # RootNet has no box where it had nothing to enclose
                ratios.append(box[2:].max() / self.columns["box"][index, 2])
                self.columns["box"][index] = box
        if ratios:
            self.about_boxes = (
                f"RootNet's for {len(ratios):,} of {len(self):,} samples, on average "
                f"{np.mean(ratios):.2f} times as wide as ours; ours, around the true hands, for the others"
            )
            self.log(f"  boxes: {self.about_boxes}")
