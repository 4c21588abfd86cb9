"""Evaluate anyone's predictions: `python tool/evaluate.py --predictions P.npz [--set key=value]`.

The file is described in common/eval/predictions.py; test.py --save_predictions writes it. Same outputs,
under the same protocols, as test.py, in output/<exp>/result/ against the data that the settings name.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from common.eval.predictions import read_predictions
from common.eval.protocols import Protocol, parse_protocols
from common.hand.mano import load_mano
from common.utils.dist import launch, parse_devices, rank
from common.utils.errors import run_script
from main import build, cli, evaluation
from main.config import Config, preset


def main() -> None:
    options = cli.parser(__doc__.splitlines()[0])
    options.add_argument("--predictions", type=Path, metavar="FILE.npz", required=True)
    options.add_argument("--preset", default="lgnet", help="whose test data, as in train.py (default: lgnet)")
    options.add_argument("--exp", help="folder in output/ (default: the file's name)")
    cli.add_protocol(options)
    args = options.parse_args()
    config = build.test_config({"config": preset(args.preset).to_dict()}, args.settings)
    folder = cli.run_folder(config, args.exp or args.predictions.stem) / "result"
    arguments = (config, args.predictions, folder, parse_protocols(args.protocol))
    launch(evaluate, parse_devices(args.gpu), *arguments)


def evaluate(
    device: torch.device, config: Config, path: Path, folder: Path, protocols: tuple[Protocol, ...]
) -> None:
    """One process of an evaluation."""
    say = print if rank() == 0 else (lambda *_: None)
    predictions, data = read_predictions(path), build.describe_test_data(config)
    mano = load_mano(config.paths.smplx_path).to(device)
    say(f"data: {data}; hand model: {mano.name}")
    say(f"predictions: {path}, {len(predictions.ids):,} samples")
    loader = build.test_data(config, mano, say)
    evaluation.run(
        predictions.of,
        loader,
        mano,
        device,
        protocols,
        config,
        folder,
        notes=coverage(predictions.ids, loader.ids(), path.name),
        title=path.stem,
        data=data,
        checkpoint=None,
        predictions=str(path),
        epoch=None,
    )


def coverage(predicted: list[str], there: list[str], name: str) -> list[str]:
    """Which ids of the data and of the file have no counterpart."""
    absent, unused = set(there) - set(predicted), set(predicted) - set(there)
    parts = {f"samples of the data are not in {name}": absent, f"ids of {name} are not in the data": unused}
    return [f"{len(ids)} {words}, the first: {min(ids)}." for words, ids in parts.items() if ids]


if __name__ == "__main__":
    run_script(main)
