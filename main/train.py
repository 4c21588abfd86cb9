"""Train a network: `python train.py --gpu 0 --preset lgnet`. Writes output/<exp>/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor, nn

from common.base import Trainer
from common.hand.mano import ManoLayer, load_mano
from common.nets.attention_maps import attention_sources, predict_with_attention
from common.nets.losses import Criterion
from common.show.figures import attention_panels, comparison
from common.show.vis import Picture, stack, to_picture
from common.utils.checkpoint import git_commit, load_snapshot, snapshot_epochs, snapshot_path
from common.utils.dist import launch, parse_devices, rank
from common.utils.errors import UserError, run_script
from common.utils.files import write_json
from common.utils.logger import RunLog
from main import build, cli
from main.config import PRESETS, Config, override, preset
from main.model import build_model

# What may differ between a run and its continuation.
FREE_SETTINGS = {"train.epochs", "train.log_every", "train.picture_every", "data.workers"}


def main() -> None:
    options = cli.parser(__doc__)
    options.add_argument("--preset", default="lgnet", help=f"one of {', '.join(PRESETS)}")
    options.add_argument("--exp", help="name of the run's folder in output/ (default: the preset)")
    options.add_argument(
        "--continue", action="store_true", dest="resume", help="go on from the run's last snapshot"
    )
    args = options.parse_args()
    config = override(preset(args.preset), args.settings, prefer="train")
    devices = parse_devices(args.gpu)
    folder = cli.run_folder(config, args.exp or args.preset)
    epochs = snapshot_epochs(folder / "model_dump")
    if args.resume and not epochs:
        raise UserError(f"--continue: {folder / 'model_dump'} holds no snapshot to continue from")
    if epochs and not args.resume:
        raise UserError(
            f"{folder} already holds snapshots up to epoch {epochs[-1]}: add --continue to go "
            "on, or --exp NAME for a new run"
        )
    launch(train, devices, config, folder, epochs[-1] if args.resume else None)


def train(device: torch.device, config: Config, folder: Path, last_epoch: int | None) -> None:
    """One process of a run; the first one writes."""
    snapshot = None
    if last_epoch is not None:
        snapshot = load_snapshot(snapshot_path(folder / "model_dump", last_epoch))
        require_same_settings(config.to_dict(), snapshot["config"])
    mano = load_mano(config.paths.smplx_path).to(device)
    log = RunLog(folder, quiet=rank() > 0)
    log.say(f"data: {build.describe_data(config)}; hand model: {mano.name}")
    trainer = build_trainer(config, mano, device, log)
    about = {"config": config.to_dict(), "commit": git_commit(cli.ROOT), "hand_model": mano.name}
    if rank() == 0:
        write_json(folder / "config.json", about)
    if snapshot is not None:
        trainer.load_state_dict(snapshot)
        log.say(f"continuing after epoch {last_epoch}")
    trainer.fit(folder / "model_dump", about)
    log.say(f"snapshots: {folder / 'model_dump'}; TensorBoard: tensorboard --logdir {folder / 'log'}")
    log.close()


def build_trainer(config: Config, mano: ManoLayer, device: torch.device, log: RunLog) -> Trainer:
    """The network, its losses and its data, ready for this process's share of the first epoch."""
    loader = build.training_data(config, mano, log.say)
    torch.manual_seed(config.train.seed)  # initial weights; data sets draw from seeds of their own
    model = build_model(mano=mano, **vars(config.model))
    log.say(
        f"{config.model.name}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, "
        f"backbone weights: {config.model.backbone_weights}; {len(loader)} steps an epoch on {device}"
    )
    return Trainer(
        model,
        Criterion(mano.faces, **vars(config.loss)),
        mano,
        loader,
        device,
        log,
        draw=lambda network, pred, batch: pictures(network, pred, batch, mano.faces),
        **{k: v for k, v in vars(config.train).items() if k not in ("batch_size", "seed", "overfit")},
    )


@torch.no_grad()
def pictures(
    network: nn.Module, pred: dict, batch: dict, faces: Tensor, count: int = 4
) -> dict[str, Picture]:
    """TensorBoard's pictures of a batch's first samples; attention in a forward of its own, in eval mode,
    so that it leaves no trace in the running statistics."""
    drawn = {"prediction beside ground truth": comparison(pred, batch, faces, count)}
    if attention_sources(network):
        images = batch["img"][:count]
        maps = predict_with_attention(network.eval(), images)["attention"]
        network.train()
        each = [{unit: value[i] for unit, value in maps.items()} for i in range(len(images))]
        rows = [attention_panels(to_picture(img), one) for img, one in zip(images, each, strict=True)]
        drawn["attention"] = stack(rows)
    return drawn


def require_same_settings(now: dict, then: dict) -> None:
    """A continued run keeps its settings, or it would not be the same run."""
    for section, entries in now.items():
        for name, value in entries.items():
            before = then.get(section, {}).get(name)
            if section != "paths" and f"{section}.{name}" not in FREE_SETTINGS and before != value:
                raise UserError(
                    f"--continue: the run has {section}.{name}={before}, now it is {value}; "
                    "use the same settings, or --exp NAME for a new run"
                )


if __name__ == "__main__":
    run_script(main)
