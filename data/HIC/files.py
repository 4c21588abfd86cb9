"""HIC's files as InterWild lays them out: HIC.json, and per hand a mesh (.ply) and its MANO fit (.pkl)."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.hand.joints import HANDS
from common.hand.mano_file import read_arrays
from common.utils.errors import UserError
from data.InterHand26M.files import HAND_TYPES, read_json, read_rows

SUBFOLDERS = ("", "data", "HIC/data", "data/HIC/data")
FIT = {"pose": (48,), "betas": (10,), "trans": (3,)}
VERTICES = 778
PLY_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "<i2"),
    **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("int", "int32"), "<i4"),
    **dict.fromkeys(("uint", "uint32"), "<u4"),
    **dict.fromkeys(("float", "float32"), "<f4"),
    **dict.fromkeys(("double", "float64"), "<f8"),
}


class Row(NamedTuple):
    """One annotation of HIC.json with its image; paths are relative to its folder."""

    picture: str
    size: tuple[int, int]  # width, height
    hand_type: str
    meshes: tuple[str | None, str | None]  # right, left


def find(hic_path: str | Path) -> Path:
    """The folder of HIC.json, from itself or from one above it."""
    given = Path(hic_path).expanduser()
    for folder in (given / sub for sub in SUBFOLDERS):
        if (folder / "HIC.json").is_file():
            return folder
    places = ", ".join(SUBFOLDERS[1:])
    raise UserError(f"hic_path: neither {given} nor its {places} holds HIC.json of InterWild's HIC")


def read_annotations(path: Path) -> list[Row]:
    """HIC.json, joined by image_id, in the order of the annotations."""
    content = read_json(path)
    try:
        images = {image["id"]: image for image in content["images"]}
        rows = [(f"annotation {row.get('id')}", row) for row in content["annotations"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} holds no rows of images and annotations: {error}") from None
    return read_rows(path, lambda row: _row(row, images), rows)


def _row(row: dict[str, Any], images: dict[int, dict[str, Any]]) -> Row:
    if row["image_id"] not in images:
        raise ValueError(f"image_id {row['image_id']} is not among the images")
    if row["hand_type"] not in HAND_TYPES:
        raise ValueError(f"hand_type {row['hand_type']}")
    image = images[row["image_id"]]
    meshes = tuple(row[f"{hand}_mano_path"] for hand in HANDS)
    return Row(image["file_name"], (image["width"], image["height"]), row["hand_type"], meshes)


def fit_of(mesh: str) -> str:
    """The path of the fit that lies beside a mesh."""
    return str(Path(mesh).with_suffix(".pkl"))


def read_fit(path: Path) -> NDArray[np.float64]:
    """(61,) pose 48, shape 10, translation 3 in metres; UserError where the file is not a fit."""
    return np.concatenate(list(read_arrays(path, FIT).values()))


def read_ply(path: Path) -> NDArray[np.float64]:
    """The 778 vertices (778,3) of a PLY file, ascii or binary little endian, as they stand there.

    Raises UserError, naming the file, on anything else; faces are not looked at.
    """
    head, end, body = path.read_bytes().partition(b"end_header")
    try:
        verts = _vertices(head.decode("ascii").split("\n"), body.partition(b"\n")[2]) if end else None
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"{path} is no PLY mesh of a hand: {error}") from None
    if verts is None or verts.shape != (VERTICES, 3) or not np.isfinite(verts).all():
        raise UserError(f"{path} is no PLY mesh of a hand with {VERTICES} vertices")
    return verts


def _vertices(head: list[str], body: bytes) -> NDArray[np.float64]:
    words = [line.split() for line in head if line.split() and line.split()[0] not in ("comment", "obj_info")]
    (magic, (_, form, _), (_, element, count)), rest = words[:3], words[3:]
    if magic != ["ply"] or element != "vertex" or form not in ("ascii", "binary_little_endian"):
        raise ValueError(f"its header has {form} and starts with {element}")
    last = next((i for i, line in enumerate(rest) if line[0] == "element"), len(rest))
    fields = [(name, PLY_TYPES[kind]) for _, kind, name in rest[:last]]
    if form == "ascii":
        numbers = np.array(body.split(None, int(count) * len(fields))[: int(count) * len(fields)], np.float64)
        columns = dict(zip((name for name, _ in fields), numbers.reshape(int(count), -1).T, strict=True))
    else:
        columns = np.frombuffer(body, np.dtype(fields), int(count))
    return np.stack([columns[axis] for axis in "xyz"], -1).astype(np.float64)
