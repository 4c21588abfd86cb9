"""What demo.py does with its sources, one after the other."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from common.hand.joints import HANDS
from common.utils.camera import Camera, centred_camera, file_camera
from common.utils.checkpoint import snapshot_epochs, snapshot_path
from common.utils.dist import parse_devices
from common.utils.errors import UserError
from common.utils.image import read_image
from common.utils.stages import Stages
from common.utils.udp import UdpSender
from main import cli
from main.config import Config
from main.demonstration.sources import Source, require_readable
from main.demonstration.video import WHOLE_VIDEO, VideoOptions, VideoRun
from main.detector import Detector, SeenHand, hints
from main.find import find_hands
from main.predictor import Predictor, load_predictor
from main.result.export import save
from main.result.kinds import KINDS
from main.result.stream import encode
from main.result.two_hands import TwoHands
from main.result.viewer import write_viewer


def load(args: argparse.Namespace, config: Config, default: Path) -> Predictor:
    """The network that the options name, said on the screen."""
    device = one_device(args.gpu)
    checkpoint = choose_checkpoint(args, config, default)
    predictor = load_predictor(checkpoint, device, config.paths.smplx_path, threshold=args.threshold)
    print(f"hand model: {predictor.mano.name}{cli.describe_local_paths(config)}")
    print(f"weights: {predictor.weights}")
    print(f"device: {predictor.device}")
    return predictor


def one_device(text: str | None) -> torch.device:
    """--gpu as typed; besides what training takes, `mps`: a Mac's own GPU."""
    if text != "mps":
        return parse_devices(text)[0]
    if not torch.backends.mps.is_available():
        raise UserError("--gpu mps: this torch finds no GPU of a Mac here; use --gpu cpu")
    return torch.device("mps")


def choose_checkpoint(args: argparse.Namespace, config: Config, default: Path) -> Path:
    if args.exp is None:
        return args.checkpoint or default
    folder = cli.run_folder(config, args.exp) / "model_dump"
    epochs = snapshot_epochs(folder)
    if not epochs:
        raise UserError(f"no snapshot in {folder}: train first, or leave --exp out")
    return snapshot_path(folder, epochs[-1])


class Session:
    """One run of the demo: what it was asked for, and how long each stage takes."""

    def __init__(
        self, predictor: Predictor, args: argparse.Namespace, output: Path, detector: Detector | None = None
    ):
        self.predictor, self.args, self.output, self.detector = predictor, args, output, detector
        self.stages = Stages()
        self.sender = None if args.udp is None else UdpSender(args.udp)
        self.pictures = 0

    def run(self, sources: list[Source]) -> None:
        """Every source; one that cannot be read is named, the rest is done. UserError at the end if any."""
        failures = []
        for number, source in enumerate(sources, 1):
            of = f"{number} of {len(sources)}, " if len(sources) > 1 else ""
            print(f"{of}{source.kind}: {source.place}{' (synthetic example)' if self.args.synthetic else ''}")
            try:
                self._source(source)
            except UserError as error:
                if len(sources) == 1:
                    raise
                print(f"skipped: {error}", file=sys.stderr)
                failures.append(str(source.place))
        print(self.stages.table())
        if failures:
            raise UserError(f"{len(failures)} of {len(sources)} inputs failed: {', '.join(failures)}")

    def _source(self, source: Source) -> None:
        if source.kind == "picture":
            self._picture(source)
        else:
            self._video(source)

    def _picture(self, source: Source) -> None:
        require_readable(source)
        with self.stages("read"):
            picture = read_image(source.place)
        args, size = self.args, (picture.shape[1], picture.shape[0])
        camera = self.camera(size) or file_camera(source.place, size)
        seen = self.seen(picture)
        with self.stages("network"):
            if args.bbox is not None or args.whole:
                hands = self.predictor(picture, args.bbox, args.attention, camera)
            else:
                hands = find_hands(self.predictor, picture, camera, args.attention, seen)
        self.tell(hands)
        if self.detector is not None:
            print(*hints(seen, hands.joints_2d, hands.is_present), sep="\n")
        self.send(hands, self.pictures)
        self.pictures += 1
        with self.stages("draw and write"):
            paths = save(hands, self.output, source.stem, str(source.place), args.synthetic, args.save)
            if args.viewer:
                paths += self._viewer(hands, source)
        for path in paths:
            print(f"wrote {path}")

    def seen(self, picture: NDArray[np.uint8]) -> list[SeenHand]:
        """What the detector sees, if one was asked for."""
        if self.detector is None:
            return []
        with self.stages("detector"):
            return self.detector(picture)

    def _viewer(self, hands: TwoHands, source: Source) -> list[Path]:
        path = self.output / f"{source.stem}.html"
        if not hands.is_present.any():
            path.unlink(missing_ok=True)  # of an earlier run
            return []
        write_viewer(path, hands, source.stem)
        return [path]

    def _video(self, source: Source) -> None:
        args = self.args
        if args.viewer:
            print("note: --viewer is for pictures; a video has none", file=sys.stderr)
        options = VideoOptions(
            camera=self.camera,
            kinds=WHOLE_VIDEO if args.save == KINDS else args.save,
            box=args.bbox,
            whole=args.whole,
            detector=self.detector,
            smooth=args.smooth,
            show=args.show,
            most=args.frames,
            send=self.send,
        )
        run = VideoRun(self.predictor, options, self.stages)
        for path in run.run(source, self.output):
            print(f"wrote {path}")

    def send(self, hands: TwoHands, number: int) -> None:
        """One frame over UDP, if that was asked for."""
        if self.sender is not None:
            with self.stages("send"):
                self.sender.send(encode(hands, number, time.time()))

    def camera(self, size: tuple[int, int]) -> Camera | None:
        """The camera that the options give for pictures of (width, height)."""
        if self.args.K is not None:
            return Camera(*self.args.K, source="given")
        if self.args.focal is not None:
            return centred_camera(size, self.args.focal)
        return None

    def tell(self, hands: TwoHands) -> None:
        for name, is_present, probability in zip(HANDS, hands.is_present, hands.present, strict=True):
            print(f"{name} hand: {'found' if is_present else 'not found'} ({probability:.2f})")
        if not hands.is_present.any():
            print("no hand found: none is drawn, none exported; --bbox X Y W H tells where to look")
