"""Writing files: numbers, pictures and meshes; a file is written whole or not at all."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.utils.errors import UserError


def write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write beside the target, flush to the disk, then rename: what was there before stays until then.

    Raises UserError when the place cannot be written or the disk is full.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError on a full disk
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write {path}: {reason}") from None


class LinesWriter:
    """A text file that grows line by line and appears under its name when it is whole; a context manager.

    After an exception nothing is left.
    """

    def __init__(self, path: Path):
        self.path, self.partial = path, path.with_name(path.name + ".partial")

    def __enter__(self) -> "LinesWriter":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = open(self.partial, "w", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None
        return self

    def write(self, line: str) -> None:
        try:
            self.file.write(line + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            self.file.close()  # the last lines go to the disk
            if kind is None:
                os.replace(self.partial, self.path)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None
        finally:
            with contextlib.suppress(OSError):
                self.partial.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Raise UserError now if a file cannot be written there later."""
    trial = path.with_name(f"{path.name}.{os.getpid()}")
    write_file(trial, lambda file: None)
    trial.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """A whole file or none."""
    write_file(path, lambda file: file.write(content))


def write_json(path: Path, value: Any) -> None:
    """Plain data as JSON; a number that is not finite raises ValueError."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def picture_bytes(picture: NDArray[np.uint8]) -> bytes:
    """RGB (H,W,3) as PNG."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """RGB (H,W,3) as a PNG file."""
    write_bytes(path, picture_bytes(picture))


def write_obj(path: Path, verts: ArrayLike, faces: ArrayLike, comments: tuple[str, ...] = ()) -> None:
    """One mesh: verts (V,3) as given, faces (F,3) counted from 0 (the file counts from 1)."""
    lines = [f"# {comment}" for comment in comments]
    lines += [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in np.asarray(verts, np.float64)]
    lines += [f"f {a} {b} {c}" for a, b, c in np.asarray(faces) + 1]
    write_bytes(path, ("\n".join(lines) + "\n").encode())
