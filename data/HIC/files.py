"""HIC's files as InterWild lays them out: HIC.json, and per hand a mesh (.ply) and its MANO fit (.pkl)."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.hand.joints import HANDS
from common.hand.mano_file import read_arrays
from common.utils.errors import UserError
from data.json_files import hand_type_of, image_of, images_and_annotations, parse_rows, read_json, size_of

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


SEE = 'see "HIC" in docs/data.md'


class Row(NamedTuple):
    """One annotation of HIC.json with its image; paths are relative to its folder."""

    picture: str
    size: tuple[int, int]  # width, height
    hand_type: str
    meshes: tuple[str | None, str | None]  # right, left


def find(hic_path: str | Path) -> Path:
    """The folder of HIC.json, from itself or from one above it."""
    given = Path(hic_path).expanduser()
    for below in SUBFOLDERS:
        if (given / below / "HIC.json").is_file():
            return given / below
    places = ", ".join(SUBFOLDERS[1:])
    raise UserError(f"hic_path: neither {given} nor its {places} holds HIC.json of InterWild's HIC; {SEE}")


def read_annotations(path: Path) -> list[Row]:
    """HIC.json, joined by image_id, in the order of the annotations."""
    images, annotations = images_and_annotations(path, read_json(path, SEE), SEE)
    return parse_rows(path, lambda row: _row(row, image_of(row, images)), annotations)


def _row(row: dict[str, Any], image: dict[str, Any]) -> Row:
    meshes = tuple(row[f"{hand}_mano_path"] for hand in HANDS)
    for mesh in meshes:
        if not isinstance(mesh, str | None):
            raise ValueError(f"{mesh} is no path of a mesh")
    return Row(str(image["file_name"]), size_of(image), hand_type_of(row), meshes)


def fit_of(mesh: str) -> str:
    """The path of the fit that lies beside a mesh."""
    return str(Path(mesh).with_suffix(".pkl"))


def read_fit(path: Path) -> NDArray[np.float64]:
    """(61,) pose 48, shape 10, translation 3 in metres; UserError where the file is not a fit."""
    fit = read_arrays(path, FIT)
    return np.concatenate([fit["pose"], fit["betas"], fit["trans"]])


def read_ply(path: Path) -> NDArray[np.float64]:
    """The 778 vertices (778,3) of a PLY file, ascii or binary little endian, as they stand there.

    Raises UserError, naming the file, on anything else; faces are not looked at.
    """
    head, end, body = path.read_bytes().partition(b"end_header")
    if not end:
        raise UserError(f"{path} is no PLY mesh of a hand: its header has no end")
    _, _, body = body.partition(b"\n")
    try:
        form, count, fields = _header(head.decode("ascii"))
        verts = _vertices(form, count, fields, body)
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"{path} is no PLY mesh of a hand: {error}") from None
    if verts.shape != (VERTICES, 3) or not np.isfinite(verts).all():
        raise UserError(f"{path} is no PLY mesh of a hand with {VERTICES} vertices")
    return verts


def _header(text: str) -> tuple[str, int, list[tuple[str, str]]]:
    """Form of the body, number of vertices, name and numpy type of each vertex property."""
    words = [line.split() for line in text.split("\n") if line.split()]
    words = [line for line in words if line[0] not in ("comment", "obj_info")]
    (magic, (_, form, _), (_, element, count)), rest = words[:3], words[3:]
    if magic != ["ply"] or element != "vertex" or form not in ("ascii", "binary_little_endian"):
        raise ValueError(f"its header has {form} and starts with {element}")
    fields = []
    for line in rest:
        if line[0] == "element":  # the faces follow
            break
        _, kind, name = line
        fields.append((name, PLY_TYPES[kind]))
    return form, int(count), fields


def _vertices(form: str, count: int, fields: list[tuple[str, str]], body: bytes) -> NDArray[np.float64]:
    """(count,3)."""
    if form == "ascii":
        total = count * len(fields)
        numbers = np.array(body.split(None, total)[:total], np.float64).reshape(count, -1)
        columns = {name: numbers[:, column] for column, (name, _) in enumerate(fields)}
    else:
        columns = np.frombuffer(body, np.dtype(fields), count)
    return np.stack([columns[axis] for axis in "xyz"], -1).astype(np.float64)
