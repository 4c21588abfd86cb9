"""Train a network: `python train.py --gpu 0 --preset lgnet`. Writes output/<exp>/.

On several machines that share a disk: `torchrun --nnodes 2 --nproc_per_node 8 ... train.py --preset lgnet`.
"""

import os
import shlex
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import nn

from common.base import Trainer
from common.hand.mano import ManoLayer, load_mano
from common.nets.losses import Criterion
from common.show.figures import pictures
from common.training.graph import wants_graph
from common.training.snapshots import Snapshots
from common.training.step import TrainStep, autocast_type, ready_network
from common.utils.checkpoint import git_commit, load_snapshot, snapshot_path, snapshots
from common.utils.dist import is_first_process, is_under_torchrun, launch, parse_devices, rank
from common.utils.errors import UserError, run_script
from common.utils.files import write_json
from common.utils.lock import only_writer
from common.utils.logger import RunLog
from main import build, cli
from main.config import Config, override
from main.model import build_model, load_network
from main.presets import PRESETS, preset
from main.resume import continued_config, last_snapshot
from main.validation import Validation

DEFAULT = "lgnet"  # preset
OPTIONS = ("snapshot_minutes", "validate")  # settings of Train with an option of their own


def main() -> None:
    options = cli.parser(__doc__)
    options.add_argument("--preset", help=f"one of {', '.join(PRESETS)} (default: {DEFAULT})")
    options.add_argument("--exp", help="name of the run's folder in output/ (default: the preset)")
    options.add_argument(
        "--continue",
        action="store_true",
        dest="resume",
        help="go on from the run's last snapshot, with the settings it carries",
    )
    options.add_argument(
        "--snapshot_minutes",
        metavar="M",
        help="minutes between snapshots inside an epoch (train.snapshot_minutes); 0: none",
    )
    options.add_argument(
        "--validate",
        nargs="?",
        const=256,
        metavar="N",
        help="pictures to measure the network on after every epoch (train.validate; N is 256 if left out)",
    )
    args = options.parse_args()
    given = {name: getattr(args, name) for name in OPTIONS}
    settings = [
        *args.settings,
        *(f"train.{name}={value}" for name, value in given.items() if value is not None),
    ]
    devices = parse_devices(args.gpu)
    config = override(preset(args.preset or DEFAULT), settings, prefer="train")
    folder = cli.run_folder(config, args.exp or args.preset or DEFAULT)
    last = last_snapshot(folder, args.resume)
    if last is not None:
        config = continued_config(last, args.preset, settings)
    with only_writer(folder, print) if is_first_process() else nullcontext():
        launch(train, devices, config, folder, last)


def train(device: torch.device, config: Config, folder: Path, last: Path | None) -> None:
    """One process of a run; the first one writes. last: the snapshot to go on from."""
    torch.backends.cudnn.benchmark = not config.train.deterministic  # all batches have one shape
    if config.train.deterministic:
        make_deterministic()
    with RunLog(folder, quiet=rank() > 0) as log:
        mano = load_mano(config.paths.smplx_path).to(device)
        data = build.describe_data(config)
        log.say(f"data: {data}; hand model: {mano.name}{cli.describe_local_paths(config)}")
        trainer = build_trainer(config, mano, device, log)
        written = Snapshots(folder / "model_dump", config.train.snapshot_minutes, config.train.keep)
        about = {"config": config.to_dict(), "commit": git_commit(cli.ROOT), "hand_model": mano.name}
        if rank() == 0:
            write_json(folder / "config.json", about)
        if last is not None:
            trainer.load_state_dict(load_snapshot(last))
            log.say(f"continuing after {last.name}")
            if rank() == 0:
                written.leave_behind(last)
        if not trainer.fit(written, about):
            log.say(f"stopped at step {trainer.step}; {how_to_go_on(folder)}")
            sys.exit(128 + (trainer.request.number or signal.SIGTERM))
        log.say(f"snapshots: {folder / 'model_dump'}; TensorBoard: tensorboard --logdir {folder / 'log'}")


def how_to_go_on(folder: Path) -> str:
    """From which snapshot of a run's folder, and with what to type."""
    dump = folder / "model_dump"
    found = snapshots(dump)
    if not found:
        return "there is no snapshot yet: start again"
    arguments = [argument for argument in sys.argv if argument != "--continue"]
    command = shlex.join(["python", *arguments, "--continue"])
    if is_under_torchrun():
        command = "the same torchrun command and --continue"
    return f"go on from {snapshot_path(dump, *found[-1]).name} with: {command}"


def make_deterministic() -> None:
    """Of several kernels, those whose result does not depend on chance; torch warns where it has none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def require_equal_parts(batch_size: int, parts: int) -> None:
    if batch_size % parts:
        raise UserError(
            f"train.accumulate={parts}: train.batch_size={batch_size} cannot be cut into so many equal parts"
        )


def build_trainer(config: Config, mano: ManoLayer, device: torch.device, log: RunLog) -> Trainer:
    """The network, its losses and its data, ready for this process's share of the first epoch."""
    settings = config.train
    require_equal_parts(settings.batch_size, settings.accumulate)
    loader = build.training_data(config, mano, log.say)
    torch.manual_seed(settings.seed)  # initial weights; data sets draw from seeds of their own
    model = build_model(config.model, mano)
    if settings.start_from is not None:
        start = load_snapshot(Path(settings.start_from))
        load_network(model, start, f"train.start_from={settings.start_from} is of another network")
        log.say(f"the network goes on from {settings.start_from}")
    parameters = sum(p.numel() for p in model.parameters())
    log.say(
        f"{config.model.name}: {parameters / 1e6:.1f} M parameters, "
        f"backbone weights: {config.model.backbone_weights}; {len(loader)} steps an epoch on {device}"
    )
    return Trainer(
        build_step(config, model, mano, device, log),
        loader,
        log,
        draw=lambda network, pred, batch: pictures(network, pred, batch, mano.faces),
        epochs=settings.epochs,
        lr=settings.lr,
        warmup=settings.warmup,
        ema=settings.ema,
        cuda_graph=settings.cuda_graph,
        log_every=settings.log_every,
        picture_every=settings.picture_every,
        validate=build_validation(config, mano, device, log),
    )


def build_validation(config: Config, mano: ManoLayer, device: torch.device, log: RunLog) -> Validation | None:
    """What measures the network after each epoch, if anything does."""
    if not config.train.validate:
        return None
    return Validation(build.validation_data(config, mano, log.say), mano, device)


def build_step(
    config: Config, model: nn.Module, mano: ManoLayer, device: torch.device, log: RunLog
) -> TrainStep:
    """What happens to one batch."""
    settings = config.train
    criterion = Criterion(mano.faces, model.grid, vars(config.loss))
    return TrainStep(
        ready_network(model, criterion, device, settings.sync_batchnorm, log.say),
        criterion,
        mano,
        device,
        weight_decay=settings.weight_decay,
        grad_clip=settings.grad_clip,
        averaged=settings.ema > 0,
        precision=autocast_type(settings.amp, device),
        accumulate=settings.accumulate,
        captured=wants_graph(settings.cuda_graph, device),
    )


if __name__ == "__main__":
    run_script(main)
