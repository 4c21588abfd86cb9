"""Two hand meshes from one picture: `python main/demo.py --input picture.png`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import time

from common.hand.joints import HANDS
from common.utils.checkpoint import snapshot_epochs, snapshot_path
from common.utils.dist import parse_devices
from common.utils.errors import UserError, run_script
from common.utils.image import read_image
from main import cli
from main.config import Config, override
from main.export import export
from main.predictor import Predictor, load_predictor

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


def announce(predictor: Predictor, source: Path, example: bool) -> None:
    print(f"hand model: {predictor.mano.name}")
    print(f"weights: {predictor.weights}")
    print(f"device: {predictor.device}")
    print(f"picture: {source}{' (synthetic example)' if example else ''}")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    config = override(Config(), args.settings, sections=("paths",))
    device = parse_devices(args.gpu)[0]
    source = args.input or EXAMPLE
    picture = read_image(source)
    checkpoint = choose_checkpoint(args, config)
    predictor = load_predictor(checkpoint, device, config.paths.smplx_path)
    announce(predictor, source, args.input is None)
    start = time.perf_counter()
    hands = predictor(picture, args.bbox, args.attention)
    print(f"time: {1000 * (time.perf_counter() - start):.0f} ms for the network")
    output = args.output or cli.ROOT / config.paths.output_dir / "demo"
    faces, synthetic = predictor.mano.faces, args.input is None
    paths = export(hands, picture, faces, output, source.stem, str(source), synthetic)
    for name, found, probability in zip(HANDS, hands.found, hands.present, strict=True):
        print(f"{name} hand: {'found' if found else 'not found'} ({probability:.2f})")
    print("\n".join(f"wrote {path}" for path in paths))


if __name__ == "__main__":
    run_script(main)
