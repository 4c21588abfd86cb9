"""What a folder of pictures says of them: nothing, RGB2Hands' 2-D joints or EgoHands' outlines.

A layout is recognised by its files and listed as entries: a picture, its box and its labels.
"""

import re
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
    names = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if name.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            names.append(name)
    return [folder / name for name in sorted(names, key=natural)]


def natural(path: Path) -> list[list[str | int]]:
    """Sorting key by folder, then name, in which numbers count as numbers."""
    return [_words_and_numbers(part) for part in path.parts]


def _words_and_numbers(name: str) -> list[str | int]:
    pieces = re.split(r"([0-9]+)", name)  # word, number, word, ..., each perhaps empty
    pieces[1::2] = map(int, pieces[1::2])
    pieces[::2] = [word.lower() for word in pieces[::2]]
    return pieces


def hand_type_of(annotated: NDArray[np.bool_]) -> str:
    """Type of a picture by which hands (2,) are annotated; of none, both are looked for."""
    if annotated.all() or not annotated.any():
        return "interacting"
    return HANDS[int(annotated.argmax())]


def _rgb2hands(root: Path) -> Listing:
    """One box per sequence about all of its annotated joints, four fifths of it joints."""
    K = _intrinsics(root / "color_intrinsics.txt")
    entries = []
    for folder in sorted([*root.glob("*/color"), *root.glob("data/*/color")]):
        paths = [path for path in pictures(folder) if path.stem.endswith("_color")]
        tables = [_points(folder.parent / "annotation" / "annot2D_color", path) for path in paths]
        box = _sequence_box(tables)
        for path, table in zip(paths, tables, strict=True):
            joints = np.zeros((2, 21, 2))
            if len(table) == RGB2HANDS_ROWS.size:
                joints = table[RGB2HANDS_ROWS]
            valid = (joints > 0).all(-1)  # (0, 0) is not annotated
            labels = {"K_orig": K, "pixels": joints, "pixels_valid": valid.astype(np.float32)}
            entries.append(Entry(path, box, hand_type_of(valid.any(-1)), labels))
    return Listing("RGB2Hands", entries, note=RGB2HANDS_NOTE)


def _sequence_box(tables: list[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """The box of all points (N,2) of a sequence, or None."""
    points = np.concatenate([np.zeros((0, 2)), *tables])
    tight = tight_box(points, (points > 0).all(-1))
    return None if tight is None else square_box(tight, 1 / 0.8)


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
    frames = _egohands_frames(root)
    entries = []
    for path, outlines in frames:
        points = np.concatenate(outlines)
        if len(points) and path.is_file():
            box = square_box(tight_box(points, np.ones(len(points))))
            outlined = np.array([len(outline) > 0 for outline in outlines])
            entries.append(Entry(path, box, hand_type_of(outlined), {"outlines": outlines}))
    return Listing("EgoHands", entries, left_out=len(frames) - len(entries))


def _egohands_frames(root: Path) -> list[tuple[Path, list[NDArray[np.float64]]]]:
    """Pictures in natural order with the polygons (N,2) of the viewer's right and left hand."""
    frames = []
    try:
        videos = loadmat(root / "metadata.mat", variable_names=["video"])["video"]
        for video in videos.ravel():
            folder = root / "_LABELLED_SAMPLES" / video["video_id"].item()
            for frame in video["labelled_frames"].ravel():
                name = f"frame_{int(frame['frame_num'].item()):04d}.jpg"
                outlines = [_polygon(frame[f"my{hand}"]) for hand in HANDS]
                frames.append((folder / name, outlines))
    except Exception as error:  # a damaged file can raise anything
        raise UserError(f"{root / 'metadata.mat'} is not EgoHands' metadata: {error}") from None
    return sorted(frames, key=lambda frame: natural(frame[0]))


def _polygon(points: NDArray) -> NDArray[np.float64]:
    """Corners (N,2), those that are not finite left out."""
    corners = np.asarray(points, np.float64).reshape(-1, 2)
    return corners[np.isfinite(corners).all(-1)]
