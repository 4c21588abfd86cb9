"""InterHand2.6M's largest file, `*_data.json`, as flat arrays: read row by row, kept piece by piece.

Legend: N annotations, I images, D folders of pictures.
"""

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.utils.errors import UserError
from data.InterHand26M.files import BOTH_TO_JOINTS, LARGEST, SEE, Key
from data.json_files import HAND_TYPES, MOST_PIXELS, Row, parse_rows
from data.json_stream import JsonStream

CHUNK = 8192  # rows that become arrays at once
MALFORMED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
Columns = dict[str, NDArray]


def read_data(path: Path, frames: dict[Key, int], cameras: dict[Key, int]) -> Columns:
    """Columns of `*_data.json`, one row per annotation, joined to its image by image_id.

    frames, cameras: the row of each time step and camera; -1 stands for one that they do not know.
      id (N,), file (N,) without its folder, folder (N,) row of folders (D,), size (N,2) width, height
      box (N,4), in_picture (N,2,21) annotated and inside the picture
      hand_type (N,) index into HAND_TYPES, hand_type_valid (N,), frame (N,), camera (N,)
    """
    folders: dict[str, int] = {}
    parse = {"images": lambda rows: _images(rows, folders, frames, cameras), "annotations": _annotations}
    kept: dict[str, list[Columns]] = {name: [] for name in parse}
    with _no_garbage_collection():
        for table, rows in _chunks(path, parse):
            kept[table].append(_parsed(path, table, rows, parse[table]))
    if not kept["images"] or not kept["annotations"]:
        lacking = "images" if not kept["images"] else "annotations"
        raise UserError(f"{path} holds no {lacking}; {SEE}")
    images, columns = (_joined(kept.pop(table)) for table in parse)
    row = _rows_of_images(path, columns, images.pop("id"))
    del columns["image_id"]
    columns |= {name: column[row] for name, column in images.items()}
    return columns | {"folders": np.array([name.encode() for name in folders])}


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Looking for cycles among millions of lists that have none takes longer than reading them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _chunks(path: Path, tables: Iterable[str]) -> Iterator[tuple[str, list[Row]]]:
    """(table, some of its rows) through the file, at most CHUNK rows at once."""
    gathered: dict[str, list[Row]] = {table: [] for table in tables}
    for table, row in JsonStream(path, SEE).rows():
        if table not in gathered:
            continue
        if not isinstance(row, dict):
            raise UserError(f"{path} holds no rows of images and annotations: {str(row)[:40]}; {SEE}")
        gathered[table].append(row)
        if len(gathered[table]) == CHUNK:
            yield table, gathered[table]
            gathered[table] = []
    yield from ((table, rows) for table, rows in gathered.items() if rows)


def _parsed(path: Path, table: str, rows: list[Row], parse: Callable[[list[Row]], Columns]) -> Columns:
    """Columns of some rows; where they do not fit together, each alone, which names the one at fault."""
    try:
        return parse(rows)
    except MALFORMED:
        named = ((f"{table.removesuffix('s')} {row.get('id')}", [row]) for row in rows)
        return _joined(parse_rows(path, parse, named))


def _joined(parts: list[Columns]) -> Columns:
    """One column from those of all parts; these go."""
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}


def _images(
    rows: list[Row], folders: dict[str, int], frames: dict[Key, int], cameras: dict[Key, int]
) -> Columns:
    """folders grows by those that are new."""
    files, places, frame, camera = [], [], [], []
    for row in rows:
        folder, _, file = row["file_name"].rpartition("/")
        places.append(folders.setdefault(folder, len(folders)))
        files.append(file.encode())
        capture = str(row["capture"])
        frame.append(frames.get((capture, str(row["frame_idx"])), -1))
        camera.append(cameras.get((capture, str(row["camera"])), -1))
    size = np.array([(int(row["width"]), int(row["height"])) for row in rows], np.int64)
    if not ((size > 0) & (size < MOST_PIXELS)).all():
        width, height = size[0]
        raise ValueError(f"its picture is {width} x {height} pixels")
    return {
        "id": np.array([int(row["id"]) for row in rows], np.int64),
        "file": np.array(files),
        "folder": np.array(places, np.int32),
        "size": size.astype(np.int32),
        "frame": np.array(frame, np.int32),
        "camera": np.array(camera, np.int32),
    }


def _annotations(rows: list[Row]) -> Columns:
    return {
        "id": np.array([int(row["id"]) for row in rows], np.int64),
        "image_id": np.array([int(row["image_id"]) for row in rows], np.int64),
        "box": _boxes(rows),
        "in_picture": _flags(rows),
        "hand_type": np.array([_hand_type(row["hand_type"]) for row in rows], np.int8),
        "hand_type_valid": np.array([bool(row["hand_type_valid"]) for row in rows]),
    }


def _hand_type(name: str) -> int:
    if name not in HAND_TYPES:
        raise ValueError(f"hand_type {name} is none of {', '.join(HAND_TYPES)}")
    return HAND_TYPES.index(name)


def _boxes(rows: list[Row]) -> NDArray[np.float32]:
    values = [row["bbox"] for row in rows]
    try:
        boxes = np.array(values, np.float64).reshape(len(rows), 4)
    except (TypeError, ValueError):
        raise ValueError("bbox is not 4 numbers") from None
    if not (np.abs(boxes) < LARGEST).all():
        raise ValueError("bbox is not finite")
    return boxes.astype(np.float32)


def _flags(rows: list[Row]) -> NDArray[np.bool_]:
    """InterHand's 42 x 1 flags, 0/1 or false/true, of each row -> (n,2,21)."""
    values = [row["joint_valid"] for row in rows]
    flags = np.array(values, bool).reshape(len(rows), -1)
    if flags.shape[1] != BOTH_TO_JOINTS.size:
        raise ValueError(f"joint_valid has {flags.shape[1]} flags, not {BOTH_TO_JOINTS.size}")
    return flags[:, BOTH_TO_JOINTS]


def _rows_of_images(path: Path, columns: Columns, image_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The image (N,) of every annotation; of images with one id the last, as in a table."""
    order = np.argsort(image_ids, kind="stable")
    wanted = columns["image_id"]
    place = np.searchsorted(image_ids[order], wanted, side="right") - 1
    row = order[np.maximum(place, 0)]
    unknown = np.flatnonzero(image_ids[row] != wanted)
    if len(unknown):
        first = unknown[0]
        raise UserError(
            f"{path}: annotation {columns['id'][first]} is malformed: image_id {wanted[first]} is not "
            "among the images"
        )
    return row
