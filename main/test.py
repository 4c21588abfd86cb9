"""Test a snapshot: `python test.py --test_epoch 29`. Writes output/<exp>/result/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from common.eval.protocols import Protocol, parse_protocols
from common.hand.mano import load_mano
from common.utils.checkpoint import load_snapshot, snapshot_epochs, snapshot_path
from common.utils.dist import launch, parse_devices, rank, world_size
from common.utils.errors import UserError, run_script
from main import build, cli, evaluation
from main.config import Config, override
from main.model import model_from_snapshot


def main() -> None:
    options = cli.parser(__doc__)
    which = options.add_mutually_exclusive_group(required=True)
    which.add_argument("--test_epoch", type=int, metavar="N", help="the run's snapshot_N.pth")
    which.add_argument("--checkpoint", type=Path, metavar="FILE", help="any snapshot")
    options.add_argument(
        "--exp", help="name of the run's folder in output/ (default: lgnet, or the checkpoint's file name)"
    )
    cli.add_protocol(options)
    options.add_argument(
        "--save_predictions", type=Path, metavar="FILE.npz", help="for tool/evaluate.py, 40 kB a picture"
    )
    args = options.parse_args()
    devices, protocols = parse_devices(args.gpu), parse_protocols(args.protocol)
    experiment = args.exp or (args.checkpoint.stem if args.checkpoint else "lgnet")
    base = override(Config(), args.settings, build.TEST_SECTIONS)  # also says where output/ is
    folder = cli.run_folder(base, experiment)
    checkpoint = args.checkpoint or existing_snapshot(folder / "model_dump", args.test_epoch)
    launch(test, devices, args.settings, checkpoint, folder / "result", protocols, args.save_predictions)


def existing_snapshot(folder: Path, epoch: int) -> Path:
    """The snapshot of an epoch, or an error that names those that exist."""
    if epoch not in snapshot_epochs(folder):
        there = ", ".join(map(str, snapshot_epochs(folder))) or "none"
        raise UserError(f"no snapshot of epoch {epoch} in {folder}; there are: {there} (--exp names the run)")
    return snapshot_path(folder, epoch)


def test(
    device: torch.device,
    settings: list[str],
    checkpoint: Path,
    folder: Path,
    protocols: tuple[Protocol, ...],
    save: Path | None,
) -> None:
    """One process of an evaluation; the first prints the table, writes the results, names them last."""
    say = print if rank() == 0 else (lambda *_: None)
    snapshot = load_snapshot(checkpoint)
    config = build.test_config(snapshot, settings)
    data = build.describe_test_data(config)
    mano = load_mano(config.paths.smplx_path).to(device)
    epoch = snapshot.get("last_epoch")
    say(f"data: {data}; hand model: {mano.name}{cli.describe_local_paths(config)}")
    say(f"snapshot: {checkpoint}, epoch {epoch}, on {world_size()} x {device.type}")
    model = model_from_snapshot(snapshot, mano).to(device)
    evaluation.run(
        lambda batch: model(batch["img"]),
        build.test_data(config, mano, say),
        mano,
        device,
        protocols,
        config,
        folder,
        save,
        title=f"{config.model.name} in {checkpoint.name}, epoch {epoch}",
        data=data,
        checkpoint=str(checkpoint),
        predictions=str(save) if save else None,
        epoch=epoch,
        trained_at=snapshot.get("commit"),
    )


if __name__ == "__main__":
    run_script(main)
