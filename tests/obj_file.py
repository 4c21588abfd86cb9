"""Wavefront OBJ as a reader of its own, for the tests of what is written."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_obj(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices (V,3) and triangles (F,3) counted from 0; texture and normal indices are ignored."""
    rows = [line.split() for line in path.read_text().splitlines() if line[:2] in ("v ", "f ")]
    verts = [[float(number) for number in row[1:4]] for row in rows if row[0] == "v"]
    faces = [[int(corner.split("/")[0]) - 1 for corner in row[1:4]] for row in rows if row[0] == "f"]
    return np.array(verts).reshape(-1, 3), np.array(faces, np.int64).reshape(-1, 3)
