"""The training step: what it reports, what it freezes, and two processes against the double batch."""

from pathlib import Path

import pytest
import torch
from torch import nn

from common.hand.mano import load_mano
from common.training.readings import NORM, Means, Reading, in_words
from common.training.step import autocast_type, synchronised
from common.utils.dist import launch, rank, world_size
from common.utils.errors import UserError
from common.utils.optimisation import freeze_unread
from main.config import override
from main.model import build_model
from main.presets import preset
from tests.tiny_trainer import SETTINGS, double_batch, tiny_trainer

CPUS = [torch.device("cpu")] * 2
PARTS = ("weight", "bias")


def one_step(device: torch.device, folder: Path) -> None:
    """In one go; and, of several processes, each in two parts."""
    steps = {}
    for accumulate, pictures in ((1, 2), (world_size(), 1)):
        trainer = tiny_trainer(device, accumulate=accumulate)
        batch = double_batch(trainer, pictures)
        half = len(batch["id"]) // world_size()
        share = slice(rank() * half, (rank() + 1) * half)
        trainer.network.train()
        _, row = trainer.plain_step.learn({key: value[share] for key, value in batch.items()})
        values = Reading.of(trainer.plain_step.names, row.tolist()).values
        gradients = {name: p.grad for name, p in trainer.network.named_parameters()}
        steps[pictures] = {"values": values, "gradients": gradients}
    torch.save(steps, folder / f"{world_size()}_{rank()}.pth")


def test_two_processes_step_as_one_with_the_double_batch(tmp_path):
    """Masks differ between the halves: means over each half would weigh their labels wrongly."""
    launch(one_step, CPUS[:1], tmp_path)
    launch(one_step, CPUS, tmp_path)
    files = [torch.load(tmp_path / name) for name in ("1_0.pth", "2_0.pth", "2_1.pth")]
    for pictures in (2, 1):
        one, first, second = (file[pictures] for file in files)
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


# ---- settings ----


def test_types_of_autocast(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for has_it, kind in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda has=has_it: {"amx_bf16": has}, raising=False
        )
        assert autocast_type("auto", cpu) == kind
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # a torch that cannot tell
    assert [autocast_type(amp, cpu) for amp in ("auto", "off")] == [None, None]
    assert autocast_type("on", cpu) == torch.bfloat16 and autocast_type("fp16", cpu) == torch.float16
    for has_it, kind in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has_it: has)
        assert autocast_type("auto", gpu) == autocast_type("on", gpu) == kind
        assert autocast_type("off", gpu) is None and autocast_type("fp16", gpu) == torch.float16


def test_synchronised_statistics_are_a_gpu_s():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    with pytest.raises(UserError, match="train.sync_batchnorm"):
        synchronised(network, torch.device("cpu"))
    names = list(network.state_dict())
    network = synchronised(network, torch.device("cuda"))
    assert isinstance(network[1], nn.SyncBatchNorm) and list(network.state_dict()) == names
