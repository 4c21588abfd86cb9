"""One training step: what is not finite, a batch in parts, nothing that waits for the device, replays."""

from contextlib import nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from common.base import Trainer
from common.targets import to_device
from common.training.graph import GraphedStep
from common.training.readings import NORM, Reading
from common.training.step import part_of
from common.utils.errors import UserError
from common.utils.optimisation import LossScale
from tests.tiny_trainer import double_batch, everything, raw_batches, tiny_trainer

# ---- what is not finite ----


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
