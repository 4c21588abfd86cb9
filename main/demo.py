"""Two hand meshes from one picture: `python main/demo.py --input picture.png`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import argparse
import time

import torch

from common.utils.checkpoint import snapshot_epochs, snapshot_path
from common.utils.dist import parse_devices
from common.utils.errors import UserError
from common.utils.image import read_image
from main.cli import run
from main.config import Config, override
from main.export import export
from main.predictor import Predictor, load_predictor

WEIGHTS = ROOT / "main" / "weights" / "lgnet_small.pth"
EXAMPLE = ROOT / "main" / "example.png"


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, help="a picture (default: a synthetic example)")
    parser.add_argument("--output", type=Path, help="folder for the results (default: output/demo)")
    parser.add_argument("--checkpoint", type=Path, help="a snapshot (default: the shipped weights)")
    parser.add_argument("--exp", help="instead of --checkpoint: the newest snapshot of output/EXP")
    parser.add_argument("--gpu", help="0 or cpu (default: the first GPU, else the CPU)")
    parser.add_argument(
        "--bbox",
        type=float,
        nargs=4,
        metavar=("X", "Y", "W", "H"),
        help="crop box in pixels, squared about its centre (default: the whole picture)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a path setting, e.g. smplx_path=/folder/of/MANO",
    )
    return parser.parse_args(argv)


def choose_checkpoint(args: argparse.Namespace, config: Config) -> Path:
    if args.checkpoint is not None and args.exp is not None:
        raise UserError("give --checkpoint or --exp, not both")
    if args.exp is None:
        return args.checkpoint or WEIGHTS
    folder = ROOT / config.paths.output_dir / args.exp / "model_dump"
    epochs = snapshot_epochs(folder)
    if not epochs:
        raise UserError(f"no snapshot in {folder}: train first, or leave --exp out")
    return snapshot_path(folder, epochs[-1])


def announce(predictor: Predictor, source: Path, example: bool) -> None:
    print(f"hand model: {predictor.hands.name}")
    print(f"weights: {predictor.weights}")
    print(f"device: {predictor.device}")
    print(f"picture: {source}{' (synthetic example)' if example else ''}")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    config = override(Config(), args.set, sections=("paths",))
    device = parse_devices(args.gpu)[0]
    torch.manual_seed(0)
    source = args.input or EXAMPLE
    picture = read_image(source)
    checkpoint = choose_checkpoint(args, config)
    predictor = load_predictor(checkpoint, device, config.paths.smplx_path)
    announce(predictor, source, args.input is None)
    start = time.perf_counter()
    hands = predictor(picture, args.bbox)
    print(f"time: {1000 * (time.perf_counter() - start):.0f} ms for the network")
    output = args.output or ROOT / config.paths.output_dir / "demo"
    paths = export(hands, picture, predictor.hands.faces, output, source.stem, str(source))
    for name, probability in zip(("right", "left"), hands.present, strict=True):
        print(f"{name} hand: {'found' if probability >= 0.5 else 'not found'} ({probability:.2f})")
    print("\n".join(f"wrote {path}" for path in paths))


if __name__ == "__main__":
    run(main)
