"""Arrays kept in a cache folder and mapped into memory: made once, whole or not at all.

A folder `NAME.KEY` holds one `.npy` file per array and `about.json`. The key says what the arrays were
made from, so other content has another key; folders of other keys of the same name are removed.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import filelock
import numpy as np
from numpy.typing import NDArray

from common.utils.errors import UserError
from common.utils.files import write_json

FORMAT = 1  # of the arrays below a cache folder; a new one has new keys
BLOCK, BLOCKS = 4096, 16  # bytes and number of the pieces of a file that its fingerprint looks at
PATIENCE = 1.0  # seconds of waiting that nobody needs to know of
SPARE = 64 * 2**20  # bytes that a disk keeps free
Log = Callable[[str], None]


class Arrays:
    """The arrays of a cache folder by name, mapped read-only; travels to other processes as a path."""

    def __init__(self, folder: Path):
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        self.folder = folder
        self._arrays = {name: _mapped(folder, name, said) for name, said in about["arrays"].items()}

    def __reduce__(self):
        return Arrays, (self.folder,)

    def __getitem__(self, name: str) -> NDArray:
        return self._arrays[name]


def _mapped(folder: Path, name: str, said: dict) -> NDArray:
    """One array; ValueError or OSError where it is not what was written."""
    path = folder / f"{name}.npy"
    if path.stat().st_size != said["bytes"] or fingerprint(path) != said["fingerprint"]:
        raise ValueError(f"{path} is damaged")
    return np.asarray(np.load(path, mmap_mode="r"))  # a plain array: memmap's own slicing is slow


def fingerprint(path: Path) -> str:
    """A hash of a file's size and of pieces of it from its beginning to its end: quick at any size."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    starts = range(0, size, BLOCK)
    if len(starts) > BLOCKS:
        starts = np.linspace(0, size - BLOCK, BLOCKS).astype(int).tolist()
    with open(path, "rb", buffering=0) as file:
        for start in starts:
            file.seek(start)
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def key_of(parts: Iterable[Path | str | bytes]) -> str:
    """A key of texts, bytes and files; a file counts by size, time of change and pieces of its content."""
    digest = hashlib.blake2b(str(FORMAT).encode(), digest_size=10)
    for part in parts:
        if isinstance(part, Path):
            known = part.is_file()
            part = f"{part.stat().st_mtime_ns} {fingerprint(part)}" if known else "missing"
        content = part if isinstance(part, bytes) else part.encode()
        digest.update(f"{len(content)} ".encode() + content)
    return digest.hexdigest()


def user_cache(about: Path) -> Path:
    """Where caches go that cannot lie beside their data: a folder of the user's, one for each path."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    digest = hashlib.blake2b(str(about.resolve()).encode(), digest_size=6)
    return Path(base) / "lgnet" / digest.hexdigest()


def cached(
    name: str, key: str, build: Callable[[], dict[str, NDArray]], places: list[Path], log: Log
) -> Arrays:
    """The arrays of this name and key, from the first of these folders that has them; made by `build` where
    none has, and kept in the first that can be written.

    Processes that start together wait for the one that builds. UserError where no place takes them.
    """
    for place in places:
        if (found := _open(place / f"{name}.{key}", log)) is not None:
            return found
    made, reason = None, ""
    for place in places:
        folder = place / f"{name}.{key}"
        try:
            place.mkdir(parents=True, exist_ok=True)
            with _only_builder(place / f"{name}.lock", log):
                if (found := _open(folder, _say_nothing)) is not None:  # built by another process meanwhile
                    return found
                made = _built(build) if made is None else made
                _keep(folder, made)
                if place != places[0]:
                    log(f"  it is kept in {place}")
                return Arrays(folder)
        except OSError as error:
            reason = f"{place}: {error.strerror or error}"
            log(f"  cannot keep the index '{name}' in {reason}")
    raise UserError(f"no place for the index '{name}' ({reason}): set cache_dir to a folder with free space")


def _built(build: Callable[[], dict[str, NDArray]]) -> dict[str, NDArray]:
    """What `build` gives; what it cannot read is no fault of the cache."""
    try:
        return build()
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from None


@contextlib.contextmanager
def _only_builder(path: Path, log: Log) -> Iterator[None]:
    """Hold a lock, where the file system knows locks: without, two may build, and the last one's stays."""
    lock = filelock.FileLock(path)
    try:
        try:
            lock.acquire(timeout=PATIENCE)
        except filelock.Timeout:
            log(f"  waiting for another process that builds {path.stem}")
            lock.acquire()
    except RuntimeError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _open(folder: Path, log: Log) -> Arrays | None:
    if not folder.is_dir():
        return None
    try:
        return Arrays(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        log(f"  the index {folder} is damaged: it is made again")
        return None


def _say_nothing(line: str) -> None:
    pass


def _keep(folder: Path, arrays: dict[str, NDArray]) -> None:
    """Write a cache folder beside its place and rename it; older ones of the same name go."""
    name = folder.name.partition(".")[0]
    needed = sum(array.nbytes for array in arrays.values()) + SPARE
    if needed > shutil.disk_usage(folder.parent).free:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({needed / 1e6:,.0f} MB are needed)")
    for left in folder.parent.glob(f"partial_{name}.*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_name(f"partial_{folder.name}.{os.getpid()}")
    partial.mkdir()
    about = {"arrays": {array: _save(partial / f"{array}.npy", arrays[array]) for array in arrays}}
    write_json(partial / "about.json", about)
    for old in folder.parent.glob(f"{name}.*"):
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
    partial.rename(folder)


def _save(path: Path, array: NDArray) -> dict[str, int | str]:
    """Write one array to the disk -> what about.json says of it."""
    with open(path, "wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": path.stat().st_size, "fingerprint": fingerprint(path)}
