"""The training step: what it reports, what it freezes, and two processes against the double batch."""

from pathlib import Path

import pytest
import torch
from torch import nn

from common.base import Trainer
from common.hand.mano import load_mano
from common.nets.losses import Criterion
from common.targets import add_targets
from common.training.readings import NORM, Means, Reading, in_words
from common.utils.dist import launch, rank, world_size
from common.utils.optimisation import freeze_unread
from data.Synthetic.stream import SyntheticStream
from main.config import override
from main.model import build_model
from main.presets import preset

CPUS = [torch.device("cpu")] * 2
PARTS = ("weight", "bias")
SETTINGS = ["backbone=resnet18", "attention=prenorm", "channels=16", "sjt_blocks=1", "refine_channels=8"]


class Silent:
    """A log nobody reads."""

    def ignore(self, *entry: object) -> None:
        pass

    say = scalars = line = forget = ignore


def tiny_trainer(device: torch.device, *settings: str, **changes: object) -> Trainer:
    torch.manual_seed(rank())  # the first process's weights must win
    config = override(preset("lgnet"), [*SETTINGS, *settings])
    mano = load_mano()
    model = build_model(config.model, mano)
    criterion = Criterion(mano.faces, model.grid, vars(config.loss))
    recipe = {
        "epochs": 1,
        "lr": 1e-3,
        "weight_decay": 0.1,
        "warmup": 0.1,
        "grad_clip": 1e9,
        "ema": 0.0,
        "amp": "off",
        "accumulate": 1,
        "sync_batchnorm": False,
        "cuda_graph": "off",
    }
    quiet = {"log": Silent(), "draw": lambda *shown: {}, "log_every": 1, "picture_every": 1}
    return Trainer(model, criterion, mano, [None] * 3, device, **{**recipe, **quiet, **changes})


def double_batch(trainer: Trainer) -> dict:
    """Four samples whose halves show the same two pictures, so that statistics over a half are those of the
    whole; labels and masks are all different."""
    # pictures of which no ReLU stands so close to its edge that rounding decides about a gradient
    batch = add_targets(
        SyntheticStream(trainer.plain_step.mano, 4, 1, 4).batch(range(4)), trainer.plain_step.mano
    )
    batch["img"] = torch.cat([batch["img"][:2]] * 2)
    chance = torch.Generator().manual_seed(2)
    for key in [key for key in batch if key.endswith("_valid")]:
        batch[key] = batch[key] * (torch.rand(batch[key].shape, generator=chance) < 0.6)
    batch["pose_valid"][:2] = 0  # one process has no fit at all
    batch["rel_trans_valid"] = torch.tensor([[1.0], [0], [0], [0]])  # and one no translation
    return batch


def one_step(device: torch.device, folder: Path) -> None:
    trainer = tiny_trainer(device)
    batch = double_batch(trainer)
    half = len(batch["id"]) // world_size()
    share = slice(rank() * half, (rank() + 1) * half)
    trainer.network.train()
    _, row = trainer.plain_step.learn({key: value[share] for key, value in batch.items()})
    values = Reading.of(trainer.plain_step.names, row.tolist()).values
    gradients = {name: p.grad for name, p in trainer.network.named_parameters()}
    torch.save({"values": values, "gradients": gradients}, folder / f"{world_size()}_{rank()}.pth")


def test_two_processes_step_as_one_with_the_double_batch(tmp_path):
    """Masks differ between the halves: means over each half would weigh their labels wrongly."""
    launch(one_step, CPUS[:1], tmp_path)
    launch(one_step, CPUS, tmp_path)
    one, first, second = (torch.load(tmp_path / name) for name in ("1_0.pth", "2_0.pth", "2_1.pth"))
    assert first["values"] == second["values"] == pytest.approx(one["values"], rel=1e-4)
    for name, gradient in one["gradients"].items():
        torch.testing.assert_close(first["gradients"][name], second["gradients"][name], rtol=0, atol=0)
        error = (first["gradients"][name] - gradient).norm() / gradient.norm().clamp_min(1e-4)
        assert error < 1e-3, f"{name}: {error:.1e}"


def two_steps_of_verts_alone(device: torch.device) -> None:
    trainer = tiny_trainer(device, "loss.present=0", "loss.rel_trans=0")
    batch = double_batch(trainer)
    for _ in range(2):
        trainer.plain_step.learn(batch)


def test_two_processes_train_without_some_losses():
    launch(two_steps_of_verts_alone, CPUS)


def test_what_no_term_reads_is_frozen():
    mano = load_mano()
    model = build_model(override(preset("lgnet"), SETTINGS).model, mano)
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    count = freeze_unread(model, {"verts", "cam"})
    frozen = {name.split(".hands")[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"mesh_stage.presence"} | {
        f"mesh_stage.rel_trans.{i}.{p}" for i in (0, 2) for p in PARTS
    }
    assert count == sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert all(p.grad is None for p in model.parameters()) and model.training
    assert all(torch.equal(statistics[name], value) for name, value in model.named_buffers())


def test_what_nothing_measured_is_a_dash():
    means, counts, rest = [2.0, 0.5, 0.0], [1.0, 9.0, 0.0], [0.0, 7.0, 0.0]
    reading = Reading.of(["total", "verts", "shape"], means + counts + rest)
    assert reading == Reading({"total": 2.0, "verts": 0.5, "shape": None, NORM: 7.0}, stop=False, bad=False)
    sums = Means()
    sums.add(reading.values)
    sums.add({"total": 4.0, "verts": None, "shape": None, NORM: 8.0})
    assert sums.values() == {"total": 3.0, "verts": 0.5, "shape": None, NORM: 7.5}
    assert in_words(sums.values()) == f"total 3.000 verts 0.500 shape - {NORM} 7.500"


def test_a_plain_layer_counts_as_read():
    layer = nn.Conv2d(3, 2, 1)
    network = type("Net", (nn.Module,), {"forward": lambda self, img: {"a": self.layer(img)}})()
    network.layer = layer
    assert freeze_unread(network, {"a"}) == 0 and layer.weight.requires_grad
