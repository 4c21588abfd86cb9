"""A small trainer on synthetic pictures, for tests of steps and of runs."""

import torch

from common.base import Trainer
from common.hand.mano import load_mano
from common.targets import add_targets
from common.utils.dist import rank
from data.Synthetic.stream import SyntheticStream
from main.config import override
from main.model import build_model
from main.presets import preset
from main.train import build_step

SETTINGS = ["backbone=resnet18", "attention=prenorm", "channels=16", "sjt_blocks=1", "refine_channels=8"]


class Silent:
    """A log nobody reads."""

    def ignore(self, *entry: object) -> None:
        pass

    say = note = scalars = line = forget = ignore


RUN = ("lr", "warmup", "log_every", "picture_every")  # settings of the whole run, not of its steps


def tiny_trainer(device: torch.device, *settings: str, ema: float = 0.0, **changes: object) -> Trainer:
    """changes: of the settings below."""
    torch.manual_seed(rank())  # the first process's weights must win
    recipe = {"weight_decay": 0.1, "grad_clip": 1e9, "amp": "off", "accumulate": 1, "cuda_graph": "off"}
    run = {"lr": 1e-3, "warmup": 0.1, "log_every": 1, "picture_every": 1}
    recipe |= {key: value for key, value in changes.items() if key not in RUN}
    run |= {key: value for key, value in changes.items() if key in RUN}
    words = [f"train.{key}={value}" for key, value in recipe.items()]
    config = override(preset("lgnet"), [*SETTINGS, *settings, *words, f"train.ema={ema}"])
    mano = load_mano()
    step = build_step(config, build_model(config.model, mano), mano, device, Silent())
    graph = config.train.cuda_graph
    return Trainer(step, [None] * 3, Silent(), lambda *shown: {}, epochs=1, ema=ema, cuda_graph=graph, **run)


def double_batch(trainer: Trainer, pictures: int = 2) -> dict:
    """Four samples that show the same two pictures (or one), so that statistics over a half (or one of them)
    are those of the whole; labels and masks are all different."""
    # pictures of which no ReLU stands so close to its edge that rounding decides about a gradient
    mano = trainer.plain_step.mano
    batch = add_targets(SyntheticStream(mano, 4, 3, 4).batch(range(4)), mano)
    batch["img"] = torch.cat([batch["img"][:pictures]] * (4 // pictures))
    chance = torch.Generator().manual_seed(2)
    for key in [key for key in batch if key.endswith("_valid")]:
        batch[key] = batch[key] * (torch.rand(batch[key].shape, generator=chance) < 0.6)
    batch["pose_valid"][:2] = 0  # one process has no fit at all
    batch["rel_trans_valid"] = torch.tensor([[1.0], [0], [0], [0]])  # and one no translation
    return batch


def everything(trainer: Trainer) -> dict[str, torch.Tensor]:
    """All that a step may move, by name."""
    optimizer = trainer.plain_step.optimizer.state_dict()["state"]
    moved = {f"network {name}": value for name, value in trainer.network.state_dict().items()}
    average = trainer.plain_step.average.network.state_dict()
    moved |= {f"average {name}": value for name, value in average.items()}
    for index, entry in optimizer.items():
        moved |= {f"optimizer {index} {name}": value for name, value in entry.items()}
    return {name: value.clone() for name, value in moved.items()}


def raw_batches(trainer: Trainer, number: int) -> list[dict]:
    return list(SyntheticStream(trainer.plain_step.mano, 2, 1, 2 * number))
