"""Two hand meshes from pictures, videos or a camera: `python main/demo.py --input photo.jpg`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import math

from common.utils.errors import UserError, run_script
from common.utils.files import require_writable
from common.utils.udp import parse_address
from main import cli
from main.config import Config, override
from main.demonstration.sources import list_sources
from main.detector import DETECTORS, MediaPipeHands
from main.result.kinds import KINDS, known_kinds

WEIGHTS = cli.ROOT / "main" / "weights" / "lgnet_small.pth"
EXAMPLE = cli.ROOT / "main" / "example.png"
GOOD_FOR = (
    "the shipped weights learned from synthetic pictures alone: on photographs expect hands in the right "
    "place that look like hands, with fingers often bent wrongly and crossed hands sometimes exchanged"
)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    options = cli.parser(__doc__)
    options.add_argument(
        "--input", help="a picture, a folder, a glob, a video or a camera's number (default: an example)"
    )
    options.add_argument("--output", type=Path, help="folder for the results (default: output/demo)")
    options.add_argument("--checkpoint", type=Path, help="a snapshot (default: the shipped weights)")
    options.add_argument("--exp", help="instead of --checkpoint: the newest snapshot of output/EXP")
    add_place_options(options)
    options.add_argument(
        "--threshold", type=float, default=0.5, help="probability from which on a hand is present (0.5)"
    )
    options.add_argument(
        "--K", type=float, nargs=4, metavar=("FX", "FY", "CX", "CY"), help="the camera, in pixels"
    )
    options.add_argument("--focal", type=float, help="instead of --K: focal length in pixels")
    options.add_argument(
        "--attention", action="store_true", help="also draw where the network looked, over the crop"
    )
    options.add_argument("--save", default="all", help=f"what to write: all, or some of {', '.join(KINDS)}")
    options.add_argument(
        "--viewer", action="store_true", help="pictures: also <stem>.html, in which the hands can be turned"
    )
    options.add_argument(
        "--udp", metavar="[HOST:]PORT", help="send each frame's hands there as one datagram (docs/udp.md)"
    )
    add_video_options(options)
    return options.parse_args(argv)


def add_place_options(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--bbox",
        type=float,
        nargs=4,
        metavar=("X", "Y", "W", "H"),
        help="where the hands are, in pixels, squared about its centre (default: the network searches)",
    )
    options.add_argument(
        "--whole", action="store_true", help="look at the whole picture alone, do not search for the hands"
    )
    options.add_argument(
        "--detector", choices=DETECTORS, default="network", help="what searches for the hands (network)"
    )


def add_video_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("--smooth", action="store_true", help="videos: steady hands, one shape per hand")
    options.add_argument("--show", action="store_true", help="videos: a live window; q ends it")
    options.add_argument("--frames", type=int, help="videos: stop after so many frames")


def check(args: argparse.Namespace) -> None:
    """What can be mistyped and costs nothing to see."""
    if args.checkpoint is not None and args.exp is not None:
        raise UserError("give --checkpoint or --exp, not both")
    if not 0 <= args.threshold <= 1:
        raise UserError(f"--threshold {args.threshold:g} is no probability: give a number from 0 to 1")
    args.save = KINDS if args.save == "all" else known_kinds(args.save.split(","))
    if args.udp is not None:
        parse_address(args.udp)
    if args.bbox is not None and args.whole:
        raise UserError("give --bbox or --whole, not both")
    if args.detector != "network" and (args.bbox is not None or args.whole):
        raise UserError(f"--detector {args.detector} searches, --bbox and --whole do not: give one of them")
    if args.K is not None and args.focal is not None:
        raise UserError("give --K or --focal, not both")
    camera = [*(args.K or []), *([] if args.focal is None else [args.focal])]
    focal = args.K[:2] if args.K else camera
    if not all(math.isfinite(number) for number in camera) or any(length <= 0 for length in focal):
        raise UserError("--K and --focal are numbers of pixels, a focal length more than 0 of them")
    if args.frames is not None and args.frames < 1:
        raise UserError("--frames is 1 or more")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    check(args)
    config = override(Config(), args.settings, sections=("paths",))
    sources = list_sources(args.input or str(EXAMPLE))
    output = args.output or cli.ROOT / config.paths.output_dir / "demo"
    require_writable(output / "demo")
    detector = MediaPipeHands() if args.detector == "mediapipe" else None
    # Here, not above: torch takes seconds to come, and what was mistyped has been told by now.
    from main.demonstration.session import Session, load

    args.synthetic = args.input is None
    predictor = load(args, config, WEIGHTS)
    if args.checkpoint is None and args.exp is None:
        print(f"note: {GOOD_FOR}")
    Session(predictor, args, output, detector).run(sources)


if __name__ == "__main__":
    run_script(main)
