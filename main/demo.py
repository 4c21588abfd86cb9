"""Two hand meshes from one picture: `python main/demo.py --input picture.png`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import time

from common.hand.joints import HANDS
from common.show.vis import Picture
from common.utils.checkpoint import snapshot_epochs, snapshot_path
from common.utils.dist import parse_devices
from common.utils.errors import UserError, run_script
from common.utils.image import read_image
from main import cli
from main.config import Config, override
from main.export import export
from main.predictor import Predictor, TwoHands, load_predictor

WEIGHTS = cli.ROOT / "main" / "weights" / "lgnet_small.pth"
EXAMPLE = cli.ROOT / "main" / "example.png"


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    options = cli.parser(__doc__)
    options.add_argument("--input", type=Path, help="a picture (default: a synthetic example)")
    options.add_argument("--output", type=Path, help="folder for the results (default: output/demo)")
    options.add_argument("--checkpoint", type=Path, help="a snapshot (default: the shipped weights)")
    options.add_argument("--exp", help="instead of --checkpoint: the newest snapshot of output/EXP")
    options.add_argument(
        "--bbox",
        type=float,
        nargs=4,
        metavar=("X", "Y", "W", "H"),
        help="crop box in pixels, squared about its centre (default: the whole picture)",
    )
    options.add_argument(
        "--attention", action="store_true", help="also draw where the network looked, over the crop"
    )
    return options.parse_args(argv)


def choose_checkpoint(args: argparse.Namespace, config: Config) -> Path:
    if args.checkpoint is not None and args.exp is not None:
        raise UserError("give --checkpoint or --exp, not both")
    if args.exp is None:
        return args.checkpoint or WEIGHTS
    folder = cli.run_folder(config, args.exp) / "model_dump"
    epochs = snapshot_epochs(folder)
    if not epochs:
        raise UserError(f"no snapshot in {folder}: train first, or leave --exp out")
    return snapshot_path(folder, epochs[-1])


def timed(predictor: Predictor, picture: Picture, args: argparse.Namespace) -> TwoHands:
    """The hands, and a line about the time: first calls are slow, what counts is the second."""
    milliseconds = []
    for _ in range(2):
        start = time.perf_counter()
        hands = predictor(picture, args.bbox, args.attention)
        milliseconds.append(1000 * (time.perf_counter() - start))
    first, second = milliseconds
    print(f"time: {second:.0f} ms from picture to hands (the first call, with its warm-up: {first:.0f} ms)")
    return hands


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    config = override(Config(), args.settings, sections=("paths",))
    device = parse_devices(args.gpu)[0]
    source, synthetic = args.input or EXAMPLE, args.input is None
    picture = read_image(source)
    checkpoint = choose_checkpoint(args, config)
    predictor = load_predictor(checkpoint, device, config.paths.smplx_path)
    print(f"hand model: {predictor.mano.name}{cli.describe_local_paths(config)}")
    print(f"weights: {predictor.weights}")
    print(f"device: {predictor.device}")
    print(f"picture: {source}{' (synthetic example)' if synthetic else ''}")
    hands = timed(predictor, picture, args)
    output = args.output or cli.ROOT / config.paths.output_dir / "demo"
    paths = export(hands, picture, predictor.mano.faces, output, source.stem, str(source), synthetic)
    for name, is_present, probability in zip(HANDS, hands.is_present, hands.present, strict=True):
        print(f"{name} hand: {'found' if is_present else 'not found'} ({probability:.2f})")
    for path in paths:
        print(f"wrote {path}")


if __name__ == "__main__":
    run_script(main)
