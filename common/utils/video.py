"""Videos and cameras in, MP4 out, by OpenCV alone: no display, no other program."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from common.utils.errors import UserError

USUAL_FPS = 30.0  # of cameras and files that do not tell
CODEC = "mp4v"  # MPEG-4, which every OpenCV wheel can write


class VideoReader:
    """Frames RGB (H,W,3) uint8 of a file or of a camera's number, upright; a context manager.

    count: how many frames the file promises, 0 for a camera; seen: how many came.
    """

    def __init__(self, place: Path | int):
        self.place = place
        self.capture = cv2.VideoCapture(place if isinstance(place, int) else str(place))
        if not self.capture.isOpened():
            raise UserError(self._cannot())
        fps = self.capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= 1000 else USUAL_FPS
        count = self.capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = 0 if isinstance(place, int) else max(0, int(count))
        self.seen = 0

    def _cannot(self) -> str:
        if isinstance(self.place, int):
            return f"no camera {self.place}: give the number of one that is there, or a file"
        return f"cannot read the video {self.place}: damaged, or no video that OpenCV can read"

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.capture.release()

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """UserError where not a single frame comes."""
        while True:
            good, frame = self.capture.read()
            if not good:
                break
            self.seen += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if self.seen == 0:
            raise UserError(f"{self._cannot()} (not one frame came)")

    def ended_early(self) -> str:
        """A sentence where the file promised more frames than came, else ""."""
        if self.seen >= self.count:
            return ""
        return f"the video {self.place} ends early: {self.seen} of {self.count} frames could be read"


class VideoWriter:
    """An MP4 that appears under its name when it is whole; a context manager.

    Frames RGB (H,W,3) uint8 have the size of the first one. After an exception nothing is left.
    """

    def __init__(self, path: Path, fps: float):
        self.path, self.fps, self.frames = path, fps, 0
        self.partial = path.with_name(f"{path.stem}.partial{path.suffix}")
        self.writer: cv2.VideoWriter | None = None

    def __enter__(self) -> "VideoWriter":
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        if self.writer is None:
            self._open(frame)
        self.writer.write(cv2.cvtColor(_even(frame), cv2.COLOR_RGB2BGR))
        self.frames += 1

    def _open(self, frame: NDArray[np.uint8]) -> None:
        height, width = _even(frame).shape[:2]
        with contextlib.suppress(OSError):  # a folder that cannot be is told below
            self.path.parent.mkdir(parents=True, exist_ok=True)
        code = cv2.VideoWriter_fourcc(*CODEC)
        self.writer = cv2.VideoWriter(str(self.partial), code, self.fps, (width, height))
        if not self.writer.isOpened():
            raise UserError(f"cannot write {self.path}: no permission there, or this OpenCV writes no MP4")

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self.writer is None:
            return
        self.writer.release()
        try:
            if kind is None:
                self._publish()
        finally:
            with contextlib.suppress(OSError):
                self.partial.unlink(missing_ok=True)

    def _publish(self) -> None:
        """OpenCV does not tell of a full disk, so the frames are counted again."""
        capture = cv2.VideoCapture(str(self.partial))
        written = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if written < self.frames:
            raise UserError(f"cannot write {self.path}: {written} of {self.frames} frames; is the disk full?")
        os.replace(self.partial, self.path)


def _even(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Video codecs want even sizes: at most one black row and column more."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)))
