"""Pictures of a folder as contract samples: in the wild, nothing is known of them in 3-D."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.utils.errors import UserError
from common.utils.image import read_image, square_box
from data.base import HandDataset, blank_record, presence
from data.Folder import layouts


class Folder(HandDataset):
    """One sample per picture, for tests only; see data/base.py for the contract.

    folder_path: any folder of jpg and png files, searched to its bottom; or RGB2Hands (2-D joints
        joints_img and intrinsics) or EgoHands (silhouettes of the viewer's own hands), recognised by
        their files. RGB2Hands does not document the order of its joints: see layouts.RGB2HANDS_ROWS.
    limit: keep the first so many. log: receives the counts line by line.

    Without an annotation the box is the whole picture, squared, and both hands are looked for. Without
    intrinsics the camera is a guess: focal length the longer side, centre in the middle.
    """

    def __init__(self, folder_path: str | Path, limit: int | None = None, log: Callable[[str], None] = print):
        super().__init__()
        self.folder = Path(folder_path).expanduser()
        if not self.folder.is_dir():
            raise UserError(f"folder_path: {folder_path} is not a folder")
        self.layout, entries, left_out, note = layouts.list_folder(self.folder)
        self.entries = entries[:limit]
        log(f"{self.layout} in {self.folder}: {len(entries):,} pictures, {left_out:,} left out")
        if note:
            log(f"  {note}")
        if not self.entries:
            raise UserError(f"folder_path: {self.folder} holds no picture ({', '.join(layouts.SUFFIXES)})")
        if "K_orig" not in self.entries[0].labels:
            log("  no intrinsics: the camera is a guess, focal length = the longer side")

    def __len__(self) -> int:
        return len(self.entries)

    def ids(self) -> list[str]:
        """Paths of the pictures in the folder."""
        return [entry.path.relative_to(self.folder).as_posix() for entry in self.entries]

    def notes(self) -> list[str]:
        """Which boxes the crops are cut by."""
        if self.layout == "pictures":
            return ["boxes: the whole pictures"]
        return ["boxes: around the true annotation"]

    def record(self, index: int) -> dict[str, Any]:
        """One raw record with its picture, whose size nothing else tells (see data/base.py)."""
        entry = self.entries[index]
        image = read_image(entry.path)
        height, width = image.shape[:2]
        whole = square_box((0, 0, width, height), 1.0)
        return blank_record() | {
            "id": entry.path.relative_to(self.folder).as_posix(),
            "image": image,
            "human_annotated": self.layout != "pictures",
            "hand_type": entry.hand_type,
            "hand_type_valid": self.layout == "EgoHands",
            "K_orig": guessed_camera(width, height),
            "image_size": (width, height),
            "box": whole if entry.box is None else entry.box,
            "present": presence(entry.hand_type),
            **entry.labels,
        }


def guessed_camera(width: int, height: int) -> NDArray[np.float64]:
    """Intrinsics (3,3) of a picture that has none: 53 degrees over its longer side."""
    f = max(width, height)
    return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])
