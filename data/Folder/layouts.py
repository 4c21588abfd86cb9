"""What a folder of pictures says of them: nothing, RGB2Hands' 2-D joints or EgoHands' outlines.

A layout is recognised by its files and listed as entries: a picture, its box and its labels.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from common.hand.joints import HANDS
from common.utils.errors import UserError
from common.utils.image import square_box, tight_box

SUFFIXES = (".jpg", ".jpeg", ".png")
# RGB2Hands (Wang et al., SIGGRAPH Asia 2020) does not say which joint a line is. This is the documented
# order of the same group's GANerated Hands, which is ours; that the right hand comes first is a guess.
RGB2HANDS_ROWS = np.arange(42).reshape(2, 21)
RGB2HANDS_NOTE = "the order of its 42 joints is assumed, not documented: right hand first, each wrist first"


class Entry(NamedTuple):
    """One picture; labels are entries of a record (data/base.py), the same ones for a whole folder."""

    path: Path
    box: NDArray[np.float64] | None  # None: the whole picture
    hand_type: str
    labels: dict[str, Any]


class Listing(NamedTuple):
    """A folder's pictures; left_out: how many frames lack a picture or hands to look for."""

    name: str
    entries: list[Entry]
    left_out: int = 0
    note: str = ""


def list_folder(folder: Path) -> Listing:
    """The pictures of a folder in natural order, with the labels that its layout knows."""
    for below in ("", "RGB2HANDS_Benchmark"):
        if (folder / below / "color_intrinsics.txt").is_file():
            return _rgb2hands(folder / below)
    for below in ("", "egohands_data"):
        if (folder / below / "metadata.mat").is_file():
            return _egohands(folder / below)
    return Listing("pictures", [Entry(path, None, "interacting", {}) for path in pictures(folder)])


def pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and below it, hidden ones left out, 2.png before 10.png."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    inside = [path.relative_to(folder) for path in found]
    shown = [path for path in inside if not any(part.startswith(".") for part in path.parts)]
    return [folder / path for path in sorted(shown, key=natural)]


def natural(path: Path) -> list[list[str | int]]:
    """Sorting key by folder, then name, in which numbers count as numbers."""
    parts = [re.split(r"([0-9]+)", part) for part in path.parts]
    return [[int(word) if i % 2 else word.lower() for i, word in enumerate(words)] for words in parts]


def hand_type_of(seen: NDArray[np.bool_]) -> str:
    """Type of a picture by which hands (2,) are annotated; of none, both are looked for."""
    return "interacting" if seen.all() or not seen.any() else HANDS[int(seen.argmax())]


def _rgb2hands(root: Path) -> Listing:
    """One box per sequence about all of its annotated joints, four fifths of it joints."""
    K = _intrinsics(root / "color_intrinsics.txt")
    entries = []
    for colors in sorted([*root.glob("*/color"), *root.glob("data/*/color")]):
        files = [path for path in pictures(colors) if path.stem.endswith("_color")]
        tables = [_points(colors.parent / "annotation" / "annot2D_color", path) for path in files]
        points = np.concatenate([np.zeros((0, 2)), *tables])
        tight = tight_box(points, (points > 0).all(-1))
        box = None if tight is None else square_box(tight, 1 / 0.8)
        for path, table in zip(files, tables, strict=True):
            known = len(table) == RGB2HANDS_ROWS.size
            joints = table[RGB2HANDS_ROWS] if known else np.zeros((2, 21, 2))
            valid = (joints > 0).all(-1)  # (0, 0) is not annotated
            labels = {"K_orig": K, "pixels": joints, "pixels_valid": valid.astype(np.float32)}
            entries.append(Entry(path, box, hand_type_of(valid.any(-1)), labels))
    return Listing("RGB2Hands", entries, note=RGB2HANDS_NOTE)


def _intrinsics(path: Path) -> NDArray[np.float64]:
    try:
        fx, fy, cx, cy = map(float, path.read_text().split("\n")[0].split())
    except ValueError:
        raise UserError(f"{path}: its first line is not fx fy cx cy") from None
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def _points(folder: Path, picture: Path) -> NDArray[np.float64]:
    """Pixels (N,2) of a picture's annotation, N = 0 where it has none."""
    path = folder / f"{picture.stem}2.5D.txt"
    if not path.is_file():
        return np.zeros((0, 2))
    try:
        rows = [line.split()[:2] for line in path.read_text().splitlines() if line.strip()]
        return np.array(rows, np.float64).reshape(-1, 2)
    except ValueError:
        raise UserError(f"{path} does not hold one joint per line, x y first") from None


def _egohands(root: Path) -> Listing:
    """My own two hands; frames that show neither, or whose picture is missing, are left out."""
    entries, total = [], 0
    for path, outlines in _egohands_frames(root):
        total += 1
        points = np.concatenate(outlines)
        if len(points) and path.is_file():
            box = square_box(tight_box(points, np.ones(len(points))))
            seen = np.array([len(outline) > 0 for outline in outlines])
            entries.append(Entry(path, box, hand_type_of(seen), {"outlines": outlines}))
    return Listing("EgoHands", entries, total - len(entries))


def _egohands_frames(root: Path) -> Iterator[tuple[Path, list[NDArray[np.float64]]]]:
    """Pictures in natural order with the polygons (N,2) of the viewer's right and left hand."""
    frames = []
    try:
        for video in loadmat(root / "metadata.mat", variable_names=["video"])["video"].ravel():
            folder = Path("_LABELLED_SAMPLES", video["video_id"].item())
            for frame in video["labelled_frames"].ravel():
                polygons = (np.asarray(frame[f"my{hand}"], np.float64).reshape(-1, 2) for hand in HANDS)
                outlines = [polygon[np.isfinite(polygon).all(-1)] for polygon in polygons]
                frames.append((folder / f"frame_{int(frame['frame_num'].item()):04d}.jpg", outlines))
    except Exception as error:  # a damaged file can raise anything
        raise UserError(f"{root / 'metadata.mat'} is not EgoHands' metadata: {error}") from None
    return ((root / path, outlines) for path, outlines in sorted(frames, key=lambda row: natural(row[0])))
