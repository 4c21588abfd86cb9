"""Pictures of a data set in a few large files: what augmentation can reach of each, in zip archives.

A pack of a split is a folder of archives `<split>_00000.zip` ... that any zip program opens: JPEG files named
by their sample, stored as they are, and `places.npy`, which says what part of its picture each is. Stored
entries are read from where they lie, so that a slow disk opens no file per sample.
"""

import io
import os
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from common.utils.errors import UserError
from data.augment import AugmentSettings
from data.cache import Log, cached, key_of

PLACES = "places.npy"
# Columns of PLACES, one row per picture: id of the sample; the part of the whole picture that is kept, in
# pixels; mean level of the whole picture.
FIELDS = ("id", "x", "y", "width", "height", "brightness")
ALIGNED = 16  # pixels: parts begin where JPEG's blocks do, and those of a picture decoded smaller
SPARE = 2  # pixels around what is reached, for the interpolation


def archives(folder: Path, split: str) -> list[Path]:
    """The archives of a pack, in order; none where the folder is no pack of this split."""
    return sorted(folder.glob(f"{split}_[0-9]*.zip"))


def reach(augment: AugmentSettings | None) -> float:
    """Side of the square about the centre of a box that augmented crops stay in, in sides of the box."""
    if augment is None:
        return 1.0
    angle = min(np.deg2rad(2 * augment.rotation), np.pi / 4) if augment.rotation_probability else 0.0
    return float((1 + augment.scale) * (np.cos(angle) + np.sin(angle)) + 2 * augment.shift)


def parts(
    box: NDArray[np.float64], size: NDArray[np.int32], reached: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Square boxes (N,4) and sizes (N,2) of pictures -> first pixel and the one after the last (N,2) of the
    part of each picture that crops reach."""
    half = box[:, 2:] * reached / 2 + SPARE
    middle = box[:, :2] + box[:, 2:] / 2
    low = np.floor((middle - half) / ALIGNED).astype(np.int64) * ALIGNED
    high = np.ceil(middle + half).astype(np.int64)
    low = np.clip(low, 0, (size - 1) // ALIGNED * ALIGNED)
    return low, np.clip(high, low + 1, size)


class Pack:
    """Reads the pictures of one split from its archives; every process opens them for itself."""

    def __init__(self, folder: Path, split: str, cache_places: list[Path], log: Log):
        self.paths = archives(folder, split)
        key = key_of(self.paths)
        self.index = cached(f"{split}_pack", key, lambda: _index(self.paths), cache_places, log)
        self._files: dict[Path, BinaryIO] = {}
        self._process = os.getpid()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_files": {}}

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids of the samples it has, rising."""
        return self.index["id"]

    def read(self, row: int) -> NDArray[np.uint8]:
        """The bytes of one JPEG."""
        path, offset = self.paths[self.index["archive"][row]], int(self.index["offset"][row])
        length = int(self.index["length"][row])
        try:
            file = self._file(path)
            file.seek(offset)
            content = file.read(length)
        except OSError as error:
            raise UserError(f"cannot read {self.name(row)}: {error.strerror}") from None
        if len(content) < length:
            raise UserError(f"{self.name(row)}: the archive is cut short")
        return np.frombuffer(content, np.uint8)

    def places(self, rows: NDArray[np.int64]) -> dict[str, NDArray]:
        """What a record says of a picture that is a part: its corner, the whole one's brightness, its row."""
        corner = np.stack([self.index["x"][rows], self.index["y"][rows]], -1)
        return {"corner": corner, "brightness": self.index["brightness"][rows], "packed_row": rows}

    def name(self, row: int) -> str:
        """What messages call a picture."""
        return f"{self.paths[self.index['archive'][row]]}/{self.index['id'][row]}.jpg"

    def require(self, rows: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]) -> None:
        """UserError where the pack holds less of some picture than `parts` says is needed."""
        x, y = self.index["x"][rows], self.index["y"][rows]
        begin = np.stack([x, y], -1)
        end = begin + np.stack([self.index["width"][rows], self.index["height"][rows]], -1)
        lacking = ((low < begin) | (high > end)).any(-1)
        if lacking.any():
            raise UserError(
                f"the packed pictures in {self.paths[0].parent} hold less than these crops reach, in "
                f"{lacking.sum():,} of {len(rows):,} samples: pack them again with tool/pack.py and the same "
                "augment settings and boxes"
            )

    def _file(self, path: Path) -> BinaryIO:
        if self._process != os.getpid():  # a file that was open before a fork shares its position
            self._files, self._process = {}, os.getpid()
        if path not in self._files:
            self._files[path] = open(path, "rb", buffering=0)
        return self._files[path]


def _index(paths: list[Path]) -> dict[str, NDArray]:
    """Where every picture lies: FIELDS, and archive, offset and length of its bytes; ids rise."""
    tables = [_table(number, path) for number, path in enumerate(paths)]
    table = np.concatenate(tables)
    table = table[np.argsort(table[:, 0], kind="stable")]
    kinds = dict.fromkeys(("id", "offset"), np.int64) | {"brightness": np.float64}
    names = (*FIELDS, "archive", "offset", "length")
    return {name: table[:, column].astype(kinds.get(name, np.int32)) for column, name in enumerate(names)}


def _table(number: int, path: Path) -> NDArray[np.float64]:
    """FIELDS, archive, offset, length of each picture of an archive."""
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
            places = np.load(io.BytesIO(archive.read(PLACES)))
            entries = [entry for entry in archive.infolist() if entry.filename != PLACES]
            bytes_of = [(number, _start(file, entry), entry.file_size) for entry in entries]
            places = places.reshape(len(entries), len(FIELDS))
            return np.concatenate([places, np.array(bytes_of, np.float64).reshape(-1, 3)], -1)
    except (OSError, ValueError, KeyError, EOFError, struct.error, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or no pack of pictures: {error}") from None


def _start(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where the bytes of an entry begin: behind its own header, which ends with a name and extras."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} is compressed")
    file.seek(entry.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    return entry.header_offset + 30 + name + extra
