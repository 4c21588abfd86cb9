"""A video or a camera, frame by frame: hands, one MP4, one line of JSON a frame, one NPZ."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from common.show.vis import Picture
from common.utils.camera import Camera, centred_camera
from common.utils.errors import UserError
from common.utils.files import LinesWriter
from common.utils.stages import Stages
from common.utils.video import VideoReader, VideoWriter
from main.demonstration.smooth import Smoother
from main.demonstration.sources import Source
from main.detector import Detector
from main.find import Tracker
from main.predictor import Box, Predictor
from main.result import draw
from main.result.describe import arrays, numbers
from main.result.export import save, write_npz
from main.result.two_hands import TwoHands

LARGEST = 1920  # pixels, longer side of the video that is written
TITLE = "LGNet"  # of the live window
WHOLE_VIDEO = ("overlay", "json", "npz")  # kinds of results that a video has once, not per frame


@dataclass(frozen=True)
class VideoOptions:
    """camera: of frames (width, height), None for the default; kinds: of KINDS."""

    camera: Callable[[tuple[int, int]], Camera | None]
    kinds: tuple[str, ...] = WHOLE_VIDEO
    box: Box = None
    whole: bool = False  # look at whole frames, or at the box, and nowhere else
    detector: Detector | None = None  # helps to search
    smooth: bool = False
    show: bool = False
    most: int | None = None  # frames
    send: Callable[[TwoHands, int], None] | None = None  # what each frame's hands and number are given to


class VideoRun:
    """One video on its way through the network."""

    def __init__(self, predictor: Predictor, options: VideoOptions, stages: Stages):
        self.predictor, self.options, self.stages = predictor, options, stages
        self.track = Tracker(predictor, options.detector)
        self.smooth = Smoother(predictor.mano) if options.smooth else None
        self.rows: list[dict[str, NDArray]] = []
        self.at_end = False  # whether the last frame was read, not only the last that was asked for

    def run(self, source: Source, folder: Path) -> list[Path]:
        """Writes <stem>.mp4, .jsonl and .npz, and what else was asked for per frame in <stem>/."""
        kinds, paths = self.options.kinds, []
        with VideoReader(source.place) as reader, contextlib.ExitStack() as files:
            video = lines = None
            if "overlay" in kinds:
                video = files.enter_context(VideoWriter(folder / f"{source.stem}.mp4", reader.fps))
                paths.append(video.path)
            if "json" in kinds:
                lines = files.enter_context(LinesWriter(folder / f"{source.stem}.jsonl"))
                paths.append(lines.path)
            with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends a video in order
                for number, frame, seconds in self._frames(reader):
                    hands = self._look(frame, seconds)
                    if self.options.send:
                        self.options.send(hands, number)
                    if lines:
                        lines.write(self._line(hands, source, number, seconds))
                    if video or self.options.show:
                        self._paint(hands, video)
                    with self.stages("write files"):
                        self._keep(hands, source, folder, number)
        if self.at_end and reader.ended_early():
            print(f"note: {reader.ended_early()}", file=sys.stderr)
        if self.rows:
            paths.append(folder / f"{source.stem}.npz")
            stacked = {key: np.stack([row[key] for row in self.rows]) for key in self.rows[0]}
            write_npz(paths[-1], stacked | {"faces": self.predictor.faces, "fps": reader.fps})
        return paths

    def _frames(self, reader: VideoReader) -> Iterator[tuple[int, Picture, float]]:
        """Number, frame and seconds since the first one; q in the window ends it."""
        most, frames, start = self.options.most, iter(reader), None
        total = min(reader.count or most or 0, most or reader.count) or None
        live = isinstance(reader.place, int)
        with tqdm(total=total, unit="frame", disable=None) as bar:
            for number in range(most or sys.maxsize):
                with self.stages("read"):
                    frame = next(frames, None)
                if frame is None:
                    self.at_end = True
                    return
                start = time.perf_counter() if start is None else start
                yield number, frame, time.perf_counter() - start if live else number / reader.fps
                bar.update()
                if self.options.show and cv2.waitKey(1) & 0xFF == ord("q"):
                    return

    def _look(self, frame: Picture, seconds: float) -> TwoHands:
        options, size = self.options, (frame.shape[1], frame.shape[0])
        camera = options.camera(size) or centred_camera(size)
        with self.stages("network"):
            if options.whole or options.box is not None:
                hands = self.predictor(frame, options.box, camera=camera)
            else:
                hands = self.track(frame, camera)
        if self.smooth is None:
            return hands
        with self.stages("smooth"):
            return self.smooth(hands, seconds)

    def _line(self, hands: TwoHands, source: Source, number: int, seconds: float) -> str:
        about = {"input": str(source.place), "frame": number, "seconds": seconds}
        return json.dumps({**about, "smoothed": self.options.smooth, **numbers(hands)}, allow_nan=False)

    def _paint(self, hands: TwoHands, video: VideoWriter | None) -> None:
        with self.stages("draw"):
            picture = draw.fitted(hands.overlay(), LARGEST)
        if video:
            with self.stages("encode"):
                video.write(picture)
        if self.options.show:
            show(picture)

    def _keep(self, hands: TwoHands, source: Source, folder: Path, number: int) -> None:
        if "npz" in self.options.kinds and source.kind == "video":
            self.rows.append(arrays(hands))
        each = [kind for kind in self.options.kinds if kind not in WHOLE_VIDEO]
        if each:
            save(hands, folder / source.stem, f"frame_{number:06d}", str(source.place), kinds=each)


def show(picture: Picture) -> None:
    try:
        cv2.imshow(TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    except cv2.error:
        raise UserError(
            "--show needs a display and OpenCV with windows: pip uninstall opencv-python-headless && "
            "pip install opencv-python"
        ) from None
