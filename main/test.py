"""Test a snapshot: `python test.py --test_epoch 29`. Writes output/<exp>/result/epoch_29/."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from common.eval.metrics import Metrics
from common.eval.predictions import read_predictions
from common.eval.protocols import Protocol, parse_protocols
from common.eval.results import About
from common.hand.mano import ManoLayer, load_mano
from common.nets.inference import Inference, wants_half
from common.utils.checkpoint import git_commit, load_snapshot, snapshot_epochs, snapshot_path
from common.utils.dist import launch, parse_devices, rank, world_size
from common.utils.errors import UserError, run_script
from common.utils.files import require_writable
from main import build, cli, evaluation
from main.config import Config, override
from main.model import model_from_snapshot


def main() -> None:
    options = cli.parser(__doc__)
    which = options.add_mutually_exclusive_group(required=True)
    which.add_argument("--test_epoch", type=int, metavar="N", help="the run's snapshot_N.pth")
    which.add_argument("--checkpoint", type=Path, metavar="FILE", help="any snapshot")
    which.add_argument(
        "--predictions", type=Path, metavar="FILE.npz", help="anyone's, see common/eval/predictions.py"
    )
    options.add_argument("--exp", help="folder in output/ (default: lgnet, or the name of the file)")
    cli.add_protocol(options)
    options.add_argument(
        "--save_predictions", type=Path, metavar="FILE.npz", help="for --predictions, 40 kB a picture"
    )
    args = options.parse_args()
    devices, protocols = parse_devices(args.gpu), parse_protocols(args.protocol)
    config = override(Config(), args.settings, build.TEST_SECTIONS)  # says where output/ is and what is read
    file = args.checkpoint or args.predictions
    folder = cli.run_folder(config, args.exp or (file.stem if file else "lgnet"))
    checkpoint = args.checkpoint
    if args.test_epoch is not None:
        checkpoint = existing_snapshot(folder / "model_dump", args.test_epoch)
    tested = file.stem if file else f"epoch_{args.test_epoch}"
    folder = folder / "result" / (tested + data_suffix(config))
    arguments = (args.settings, checkpoint, args.predictions, folder, protocols, args.save_predictions)
    launch(test, devices, *arguments)


def existing_snapshot(folder: Path, epoch: int) -> Path:
    """The snapshot of an epoch, or an error that names those that exist."""
    epochs = snapshot_epochs(folder)
    if epoch not in epochs:
        names = ", ".join(map(str, epochs)) or "none"
        raise UserError(f"no snapshot of epoch {epoch} in {folder}; there are: {names} (--exp names the run)")
    return snapshot_path(folder, epoch)


def data_suffix(config: Config) -> str:
    """What tells the result folder of other data from that of InterHand2.6M's test split."""
    if config.paths.hic_path:
        return "_hic"
    if config.paths.folder_path:
        return "_folder"
    if build.is_synthetic(config):
        name = config.data.synthetic_test_set
        return "_synthetic" if name == build.TEST_DATA.synthetic_test_set else f"_synthetic_{name}"
    return "" if config.test.split == "test" else f"_{config.test.split}"


def test(
    device: torch.device,
    settings: list[str],
    checkpoint: Path | None,
    predictions: Path | None,
    folder: Path,
    protocols: tuple[Protocol, ...],
    save: Path | None,
) -> None:
    """One process of an evaluation; the first prints the table, writes the results, names them last.

    Either a checkpoint or predictions are tested.
    """
    say = print if rank() == 0 else (lambda *_: None)
    read = read_predictions(predictions) if predictions else None
    snapshot = load_snapshot(checkpoint) if checkpoint else {"config": {}}
    config = build.test_config(snapshot, settings)
    mano = load_mano(config.paths.smplx_path).to(device)
    about = describe(config, mano, device, snapshot, checkpoint, predictions or save)
    if rank() == 0:
        require_writable(folder / "metrics.json")  # now, not after hours
        if save:
            require_writable(save)
    say(f"data: {about.data}; hand model: {mano.name}{cli.describe_local_paths(config)}")
    if read:
        say(f"predictions: {predictions}, {len(read.ids):,} samples")
        predict = read.of
    else:
        say(f"snapshot: {checkpoint}, epoch {about.epoch}, on {about.device}")
        predict = forward_of(snapshot, mano, device, config.test.amp)
    loader = build.test_data(config, mano, say)
    about = replace(about, data_notes=loader.notes())
    notes = coverage(read.ids, loader.ids(), predictions) if read else []
    metrics = Metrics(mano, protocols, config.test.penetration)
    evaluation.run(predict, about, metrics, loader, device, folder, save, notes)


def forward_of(
    snapshot: dict[str, Any], mano: ManoLayer, device: torch.device, amp: str
) -> evaluation.Predict:
    """The network of a snapshot: batch -> prediction."""
    inference = Inference(model_from_snapshot(snapshot, mano), device, wants_half(amp, device))
    return lambda batch: inference(batch["img"])


def describe(
    config: Config,
    mano: ManoLayer,
    device: torch.device,
    snapshot: dict[str, Any],
    checkpoint: Path | None,
    predictions: Path | None,
) -> About:
    """What is tested, on what and how. Without a checkpoint it is the predictions."""
    epoch = snapshot.get("last_epoch")
    title = f"{config.model.name} in {checkpoint.name}, epoch {epoch}" if checkpoint else predictions.stem
    half = checkpoint and wants_half(config.test.amp, device)
    return About(
        title=title,
        data=build.describe_test_data(config),
        data_notes=[],  # known once the data are read
        synthetic=build.is_synthetic(config),
        hand_model=mano.name,
        device=f"{world_size()} x {device.type}{', float16' if half else ''}",
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        commit=git_commit(cli.ROOT),
        config=config.to_dict(),
        checkpoint=str(checkpoint) if checkpoint else None,
        epoch=epoch,
        trained_at=snapshot.get("commit"),
        predictions=str(predictions) if predictions else None,
    )


def coverage(predicted: list[str], expected: list[str], file: Path) -> list[str]:
    """Sentences on ids that only the data or only the file has. Raises UserError if they share none."""
    absent, unused = set(expected) - set(predicted), set(predicted) - set(expected)
    if len(absent) == len(set(expected)):
        raise UserError(
            f"{file} has no id in common with the data: it has {_first(predicted)}, they have "
            f"{_first(expected)}; --set names the data the predictions were made for"
        )
    notes = []
    if absent:
        notes.append(f"{len(absent)} samples of the data are not in {file.name}, the first: {min(absent)}.")
    if unused:
        notes.append(f"{len(unused)} ids of {file.name} are not in the data, the first: {min(unused)}.")
    return notes


def _first(ids: list[str], count: int = 3) -> str:
    return f"{', '.join(ids[:count])}, ..." if ids else "none"


if __name__ == "__main__":
    run_script(main)
