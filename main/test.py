"""Test a snapshot: `python test.py --test_epoch 29`. Writes output/<exp>/result/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from common.base import evaluate
from common.eval.figures import comparison
from common.eval.metrics import Metrics
from common.eval.report import results, table
from common.hand.mano import load_hands
from common.utils.checkpoint import git_commit, load_snapshot, snapshot_epochs, snapshot_path
from common.utils.dist import launch, parse_devices, rank, world_size
from common.utils.errors import UserError, run_script
from common.utils.mesh_io import write_json, write_picture
from main import cli
from main.config import Config, SettingError, from_dict, override
from main.model import model_from_snapshot

SECTIONS = ("paths", "data", "test")  # what --set may change; the rest is the snapshot's own


def main() -> None:
    options = cli.parser(__doc__)
    which = options.add_mutually_exclusive_group(required=True)
    which.add_argument("--test_epoch", type=int, metavar="N", help="the run's snapshot_N.pth")
    which.add_argument("--checkpoint", type=Path, metavar="FILE", help="any snapshot")
    options.add_argument(
        "--exp", help="name of the run's folder in output/ (default: lgnet, or the checkpoint's file name)"
    )
    args = options.parse_args()
    devices = parse_devices(args.gpu)
    experiment = args.exp or (args.checkpoint.stem if args.checkpoint else "lgnet")
    base = override(Config(), args.settings, SECTIONS)  # also says where output/ is
    folder = cli.run_folder(base, experiment)
    checkpoint = args.checkpoint or existing_snapshot(folder / "model_dump", args.test_epoch)
    launch(test, devices, args.settings, checkpoint, folder / "result")


def existing_snapshot(folder: Path, epoch: int) -> Path:
    """The snapshot of an epoch, or an error that names those that exist."""
    if epoch not in snapshot_epochs(folder):
        there = ", ".join(map(str, snapshot_epochs(folder))) or "none"
        raise UserError(f"no snapshot of epoch {epoch} in {folder}; there are: {there} (--exp names the run)")
    return snapshot_path(folder, epoch)


def test(device: torch.device, settings: list[str], checkpoint: Path, folder: Path) -> None:
    """One process of an evaluation; the first prints the table, writes metrics.json, names it last."""
    say = print if rank() == 0 else (lambda *_: None)
    snapshot = load_snapshot(checkpoint)
    # Paths are this machine's, never the snapshot's.
    config = override(from_dict({**snapshot["config"], "paths": {}}), settings, SECTIONS)
    data, synthetic = cli.describe_data(config), not cli.uses_real_data(config)
    mano = load_hands(config.paths.smplx_path).to(device)
    say(f"data: {data}; hand model: {mano.name}")
    say(f"snapshot: {checkpoint}, epoch {snapshot.get('last_epoch')}, on {world_size()} x {device.type}")
    model = model_from_snapshot(snapshot, mano)
    loader = cli.test_data(config, mano, say)
    metrics = Metrics(mano)
    shown = folder.parent / "vis" / "first_samples.png"
    rate = evaluate(
        model,
        loader,
        mano,
        metrics,
        device,
        draw=lambda pred, batch: write_picture(shown, comparison(pred, batch, mano.faces)),
    )
    if rank() > 0:
        return
    print(table(metrics, data, mano.name, synthetic))
    print(f"network: {rate:.1f} pictures/s, batch {config.test.batch_size}")
    found = results(
        metrics,
        data=data,
        synthetic=synthetic,
        hand_model=mano.name,
        checkpoint=str(checkpoint),
        epoch=snapshot.get("last_epoch"),
        config=config.to_dict(),
        commit=git_commit(cli.ROOT),
        trained_at=snapshot.get("commit"),
        device=f"{world_size()} x {device.type}",
        pictures_per_second=rate,
    )
    write_json(folder / "metrics.json", found)
    print(f"pictures: {shown}")
    print(f"results: {folder / 'metrics.json'}")


if __name__ == "__main__":
    run_script(main, SettingError)
