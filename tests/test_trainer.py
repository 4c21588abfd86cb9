"""The training step: what it reports, what it freezes, and two processes against the double batch."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from common.base import Trainer
from common.hand.mano import load_mano
from common.nets.losses import Criterion
from common.targets import add_targets, to_device
from common.training.graph import GraphedStep
from common.training.readings import NORM, Means, Reading, in_words
from common.training.step import autocast_type, part_of, synchronised
from common.utils.dist import launch, rank, world_size
from common.utils.errors import UserError
from common.utils.optimisation import LossScale, freeze_unread
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


def double_batch(trainer: Trainer, pictures: int = 2) -> dict:
    """Four samples that show the same two pictures (or one), so that statistics over a half (or one of them)
    are those of the whole; labels and masks are all different."""
    # pictures of which no ReLU stands so close to its edge that rounding decides about a gradient
    mano = trainer.plain_step.mano
    batch = add_targets(SyntheticStream(mano, 4, 1, 4).batch(range(4)), mano)
    batch["img"] = torch.cat([batch["img"][:pictures]] * (4 // pictures))
    chance = torch.Generator().manual_seed(2)
    for key in [key for key in batch if key.endswith("_valid")]:
        batch[key] = batch[key] * (torch.rand(batch[key].shape, generator=chance) < 0.6)
    batch["pose_valid"][:2] = 0  # one process has no fit at all
    batch["rel_trans_valid"] = torch.tensor([[1.0], [0], [0], [0]])  # and one no translation
    return batch


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


# ---- what is not finite ----


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


def spoil_the_loss(trainer: Trainer, batch: dict) -> None:
    batch["img"][0, 0, 5, 5] = torch.nan


def spoil_the_gradient(trainer: Trainer, batch: dict) -> None:
    last = [p for p in trainer.network.parameters() if p.requires_grad][-1]
    last.register_hook(lambda gradient: gradient * torch.inf)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(spoil_the_loss, "the loss total, joints_img"), (spoil_the_gradient, "the gradient is not")],
)
def test_a_bad_step_and_those_after_it_move_nothing(spoil, words):
    """Two good steps, a bad one and two good ones again before anybody looks."""
    trainer = tiny_trainer(torch.device("cpu"), ema=0.5, log_every=99, picture_every=99)
    trainer.network.train()
    batches = raw_batches(trainer, 5)
    for batch in batches[:2]:
        trainer.train_step(batch)
    before = everything(trainer)
    spoil(trainer, batches[2])
    for batch in batches[2:]:
        trainer.train_step(batch)
    for name, value in everything(trainer).items():
        assert torch.equal(value, before[name]), name
    with pytest.raises(UserError, match=words) as stop:
        trainer.read()
    assert "at step 2, samples synthetic/1/000004, synthetic/1/000005: snapshots of" in str(stop.value)
    assert trainer.step == trainer.batch == 2
    assert trainer.means.sums["total"][1] == 2


def test_a_good_step_moves_everything():
    trainer = tiny_trainer(torch.device("cpu"), ema=0.5, warmup=0.0)
    trainer.network.train()
    (batch, other) = raw_batches(trainer, 2)
    trainer.train_step(batch)
    before = everything(trainer)
    trainer.train_step(other)
    still = [name for name, value in everything(trainer).items() if torch.equal(value, before[name])]
    assert not [name for name in still if "norm" not in name and "bias" not in name]
    trainer.read()


def test_float16_skips_what_its_scale_made_too_large():
    """The scale is halved until gradients fit; nothing moves meanwhile, and the run goes on."""
    trainer = tiny_trainer(torch.device("cpu"), ema=0.5, amp="fp16", log_every=99, picture_every=99)
    trainer.network.train()
    scale = trainer.plain_step.scale
    scale.value.fill_(1e38)
    batch = raw_batches(trainer, 1)[0]
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.train_step(batch)
    assert scale.value == pytest.approx(5e37)
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    scale.value.fill_(1024.0)
    trainer.train_step(batch)
    still = [n for n, value in trainer.network.state_dict().items() if torch.equal(value, before[n])]
    assert len(still) < len(before) / 2
    means = trainer.read().values()
    assert means["total"] > 0 and 0 < means[NORM] < 1e4 and scale.value == 1024


def test_the_scale_of_float16():
    scale = LossScale(torch.device("cpu"))
    good, bad = torch.tensor(True), torch.tensor(False)
    for finite in [bad] * 3 + [good] * (LossScale.PATIENCE - 1):
        scale.adapt(finite)
    assert scale.value == 8192
    scale.adapt(good)
    assert scale.value == 16384
    for _ in range(20):
        scale.adapt(bad)
    assert scale.value == 1 and scale.is_least()


# ---- a batch in parts ----


def test_parts_add_up_to_the_batch():
    """Masks differ between the halves, whose pictures are the same for BatchNorm's sake."""
    rows, gradients = [], []
    for accumulate in (1, 2):
        trainer = tiny_trainer(torch.device("cpu"), accumulate=accumulate)
        trainer.network.train()
        pred, row = trainer.plain_step.learn(double_batch(trainer))
        assert len(pred["verts"]) == 4
        rows.append(Reading.of(trainer.plain_step.names, row.tolist()).values)
        gradients.append({name: p.grad for name, p in trainer.network.named_parameters()})
    assert rows[1] == pytest.approx(rows[0], rel=1e-4)
    for name, gradient in gradients[0].items():
        error = (gradients[1][name] - gradient).norm() / gradient.norm().clamp_min(1e-4)
        assert error < 1e-3, f"{name}: {error:.1e}"


# ---- on the device ----


class NothingIsRead(TorchDispatchMode):
    """Refuses what waits for a device that is not the CPU: numbers read back, and numbers sent there."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            places = {value.device.type for value in (*args, result) if isinstance(value, torch.Tensor)}
            assert places != {"cpu", "meta"}, f"{function} between {places}"
        return result


OURS = [
    "joint_head=pyramid",
    "heatmap_side=16",
    "heatmap_margin=2",
    "regressor=aligned",
    "refine_misfit=true",
]


@pytest.mark.parametrize("network", [[], OURS, ["refine_graph=cheb", "local_graph=cheb", "attention=paper"]])
def test_a_step_waits_for_no_device(network, monkeypatch):
    """On tensors without values, where reading one is an error; but for the optimizer's own kernel."""
    trainer = tiny_trainer(torch.device("cpu"), *network)
    step, batch = trainer.plain_step, raw_batches(trainer, 1)[0]
    for module in (step.network, step.criterion, step.mano):
        module.to("meta")
    step.lr, step.share, step.wants_stop, step.bad = torch.zeros(4, device="meta").unbind()
    step.buffers = [flat.to("meta") for flat in step.buffers]
    step.device, step.optimizer.step = torch.device("meta"), lambda: None
    monkeypatch.setattr(torch, "autocast", lambda *settings, **more: nullcontext())  # knows no such device
    on_device = to_device(batch, step.device)
    for owner, name in ((torch, "tensor"), (torch, "as_tensor"), (torch.Tensor, "new_tensor")):
        monkeypatch.setattr(owner, name, lambda *numbers: pytest.fail("numbers are sent to the device"))
    with NothingIsRead():
        _, _, row = step(on_device)
    assert row.device.type == "meta" and len(row) == 2 * len(step.names) + 3


class Recorded:
    """In the place of a CUDA graph: replaying it makes the step on its inputs, into its outputs."""

    def __init__(self, graphed: GraphedStep):
        self.graphed = graphed

    def replay(self) -> None:
        self.graphed.outputs = self.graphed.step(self.graphed.inputs)


class WithoutGPU(GraphedStep):
    """All of it but the capture itself."""

    def beside(self, batch):
        return self.step(batch)

    def capture(self, tensors):
        self.inputs = {key: torch.full_like(value, torch.nan) for key, value in tensors.items()}
        self.graph = Recorded(self)


def test_replayed_steps_are_plain_ones(monkeypatch):
    """Seven steps, one of them of another shape, as an epoch's last."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    cpu, results = torch.device("cpu"), []
    for replayed in (False, True):
        trainer = tiny_trainer(cpu, ema=0.5, log_every=99, picture_every=99)
        trainer.network.train()
        if replayed:
            trainer.make_step = WithoutGPU(trainer.plain_step, optional=False, say=print)
        batches = raw_batches(trainer, 7)
        batches[5] = part_of(batches[5], slice(1))
        for batch in batches:
            trainer.train_step(batch)
        ids = [names for _, names in trainer.unread]
        results.append((ids, trainer.read().values(), everything(trainer)))
    (ids, plain, one), (same_ids, replayed, two) = results
    assert ids == same_ids and plain == replayed
    assert all(torch.equal(value, two[name]) for name, value in one.items())


GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@GPU
def test_a_step_on_a_gpu_waits_for_nothing():
    device = torch.device("cuda", 0)
    trainer = tiny_trainer(device, ema=0.5, log_every=99, picture_every=99)
    trainer.network.train()
    batches = [to_device(batch, device) for batch in raw_batches(trainer, 4)]
    for number, batch in enumerate(batches):
        torch.cuda.set_sync_debug_mode("error" if number else "default")  # the first step fills caches
        trainer.step, trainer.picture_every = number + 1, 99
        try:
            trainer.train_step(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert trainer.read().values()["total"] > 0


@GPU
def test_a_captured_step_is_the_plain_one():
    """Eight steps either way: the same losses, and the same weights but for the order of sums."""
    device, results = torch.device("cuda", 0), []
    for graph in ("off", "on"):
        trainer = tiny_trainer(device, ema=0.5, log_every=99, picture_every=99, cuda_graph=graph)
        trainer.network.train()
        for batch in raw_batches(trainer, 8):
            trainer.train_step(batch)
        results.append((trainer.read().values(), everything(trainer)))
    assert trainer.make_step.graph is not None
    (plain, one), (captured, two) = results
    assert captured == pytest.approx(plain, rel=1e-3)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-2, atol=1e-3, msg=name)


# ---- settings ----


def test_types_of_autocast(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
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
