"""Evaluate anyone's predictions: `python tool/evaluate.py --predictions P.npz [--set key=value]`.

The file is described in common/eval/predictions.py; test.py --save_predictions writes it. Same outputs,
under the same protocols, as test.py, in output/<exp>/result/ against the data that the settings name.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.eval.predictions import Predictions, read_predictions
from common.eval.protocols import parse_protocols
from common.hand.mano import load_hands
from common.utils.dist import parse_devices
from common.utils.errors import run_script
from main import cli, evaluation
from main.config import SettingError, preset


def main() -> None:
    options = cli.parser(__doc__.splitlines()[0])
    options.add_argument("--predictions", type=Path, metavar="FILE.npz", required=True)
    options.add_argument("--preset", default="lgnet", help="whose test data, as in train.py (default: lgnet)")
    options.add_argument("--exp", help="folder in output/ (default: the file's name)")
    cli.add_protocol(options)
    args = options.parse_args()
    device, protocols = parse_devices(args.gpu)[0], parse_protocols(args.protocol)
    config = cli.test_config({"config": preset(args.preset).to_dict()}, args.settings)
    folder = cli.run_folder(config, args.exp or args.predictions.stem) / "result"
    predictions, data = read_predictions(args.predictions), cli.describe_test_data(config)
    mano = load_hands(config.paths.smplx_path).to(device)
    print(f"data: {data}; hand model: {mano.name}")
    print(f"predictions: {args.predictions}, {len(predictions.ids):,} samples")
    loader = cli.test_data(config, mano, print)
    evaluation.run(
        predictions.of,
        loader,
        mano,
        device,
        protocols,
        config,
        folder,
        notes=lambda: coverage(predictions, args.predictions),
        title=args.predictions.stem,
        data=data,
        checkpoint=None,
        predictions=str(args.predictions),
        epoch=None,
    )


def coverage(predictions: Predictions, path: Path) -> list[str]:
    """Which ids of the data and of the file have no counterpart."""
    unused = set(predictions.ids) - predictions.asked
    parts = [
        (predictions.unknown, f"samples of the data are not in {path.name}"),
        (unused, f"ids of {path.name} are not in the data"),
    ]
    return [f"{len(ids)} {words}, the first: {min(ids)}." for ids, words in parts if ids]


if __name__ == "__main__":
    run_script(main, SettingError)
