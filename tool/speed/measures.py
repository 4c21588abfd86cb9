"""What tool/benchmark.py measures: forwards, training steps, data, and what float16 changes."""

import gc
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from common.base import Trainer
from common.hand.mano import ManoLayer
from common.nets.inference import Inference, wants_half
from common.targets import add_targets, to_device
from common.utils.checkpoint import load_snapshot
from common.utils.geometry import IMAGE_SIZE
from common.utils.logger import RunLog
from common.utils.timing import Spread, seconds_each
from main import build
from main.config import Config, override
from main.model import build_model, model_from_snapshot
from main.presets import preset
from main.train import build_trainer

RESNET, RESNET_PLAIN = "bare ResNet-50", "bare ResNet-50, float32, layer by layer"
Batch = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much is measured; a CPU takes a thousand times as long as a GPU."""

    batches: tuple[int, ...]  # of inference
    train_batch: int
    rounds: int
    repeats: int  # forwards or steps in a round
    pictures: int  # on which float16 is compared with float32


ON_GPU = Plan(batches=(1, 64, 128), train_batch=64, rounds=20, repeats=10, pictures=512)
ON_CPU = Plan(batches=(1, 4), train_batch=4, rounds=5, repeats=1, pictures=64)


class Classifier(nn.Module):
    """The bare ResNet-50 with predictions of the form that networks of ours give."""

    def __init__(self):
        super().__init__()
        self.net = torchvision.models.resnet50()

    def forward(self, img: Tensor) -> dict[str, Tensor]:
        return {"classes": self.net(img)}


def benchmark_config(name: str, settings: list[str], plan: Plan) -> Config:
    """A preset on the synthetic stream (or what --set says), without anything but training in a step."""
    first = [f"train.batch_size={plan.train_batch}", "data.synthetic_train=1000000"]
    return override(preset(name), [*first, *settings, "train.picture_every=2147483647"], prefer="train")


# ---- inference ----


def inference(
    configs: dict[str, Config], mano: ManoLayer, device: torch.device, plan: Plan
) -> dict[str, dict[str, Spread]]:
    """{network: {batch: seconds of a forward}}, of networks without training."""
    half = wants_half("auto", device)
    plain = torchvision.models.resnet50().to(device).eval()
    forwards: dict[str, Callable] = {RESNET_PLAIN: torch.inference_mode()(plain)}
    forwards[RESNET] = Inference(Classifier(), device, half)
    for name, config in configs.items():
        forwards[name] = Inference(build_model(config.model, mano), device, half)
    return of_each_batch(forwards, device, plan)


def steps(
    config: Config, mano: ManoLayer, device: torch.device, plan: Plan, compiled: bool
) -> dict[str, dict[str, Spread]]:
    """{step: {batch: seconds}}: each adds something to the one before; torch.compile alone is not shipped."""

    def ready_to(half: bool = False, graphs: bool = False) -> Inference:
        return Inference(build_model(config.model, mano), device, half, graphs)

    network = build_model(config.model, mano).to(device).eval()
    casting, whole = ready_to(), ready_to(half=True, graphs=True)
    casting.half = True  # autocast, while the weights stay float32
    forwards: dict[str, Callable] = {
        "layer by layer, float32": torch.inference_mode()(network),
        "+ folded, channels last": ready_to(),
        "+ float16": casting,
        "+ weights cast once": ready_to(half=True),
    }
    if whole.graphs:
        forwards["+ CUDA graph"] = whole
    if compiled:
        fused = ready_to(half=True, graphs=True)
        fused.network = torch.compile(fused.network, dynamic=False)
        forwards["+ torch.compile"] = fused
    return of_each_batch(forwards, device, plan)


def of_each_batch(
    forwards: dict[str, Callable], device: torch.device, plan: Plan
) -> dict[str, dict[str, Spread]]:
    """{name: {batch: seconds of a forward}}."""
    measured: dict[str, dict[str, Spread]] = {name: {} for name in forwards}
    for batch in plan.batches:
        img = torch.rand(batch, 3, IMAGE_SIZE, IMAGE_SIZE, device=device)
        calls = {name: partial(forward, img) for name, forward in forwards.items()}
        repeats = 1 if batch == 1 else plan.repeats  # a single picture is waited for
        for name, seconds in seconds_each(calls, device, plan.rounds, repeats).items():
            measured[name][str(batch)] = seconds
    return measured


def precision(checkpoint: Path, mano: ManoLayer, device: torch.device, plan: Plan) -> dict[str, float]:
    """MPVPE of both hands about their wrists, mm, of a snapshot in float32 and in float16."""
    snapshot = load_snapshot(checkpoint)
    config = build.test_config(snapshot, [f"synthetic_test={plan.pictures}"])
    sums = {False: 0.0, True: 0.0}
    forwards = {half: Inference(model_from_snapshot(snapshot, mano), device, half) for half in sums}
    hands, apart = 0.0, 0.0
    for batch in build.test_data(config, mano, print):
        batch = add_targets(to_device(batch, device), mano)
        valid = batch["pose_valid"].flatten(1)
        verts = {half: forward(batch["img"])["verts"] for half, forward in forwards.items()}
        for half in sums:
            error = (verts[half] - batch["verts_cam"]).norm(dim=-1).mean(-1)
            sums[half] += 1000 * float((error * valid).sum())
        apart += 1000 * float(((verts[True] - verts[False]).norm(dim=-1).mean(-1) * valid).sum())
        hands += float(valid.sum())
    return {
        "hands": hands,
        "MPVPE float32, mm": sums[False] / hands,
        "MPVPE float16, mm": sums[True] / hands,
        "difference, mm": (sums[True] - sums[False]) / hands,
        "vertices apart, mm": apart / hands,
    }


# ---- training ----


def training(config: Config, mano: ManoLayer, device: torch.device, plan: Plan) -> dict[str, Any]:
    """Steps on one batch that lies on the device: seconds of a step, and the most memory."""
    with tempfile.TemporaryDirectory() as folder, RunLog(Path(folder), quiet=True) as log:
        release(device)
        trainer = ready(config, mano, device, log)
        batch = to_device(next(iter(trainer.loader)), device)
        step = {"step": partial(trainer.train_step, batch)}
        seconds = seconds_each(step, device, plan.rounds, plan.repeats)["step"]
        peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        pictures = len(batch["img"])
    return {"pictures": pictures, "seconds": seconds, "peak_bytes": peak}


def stream(config: Config, mano: ManoLayer, device: torch.device, plan: Plan) -> dict[str, Any]:
    """Steps on the batches of the loader; and the loader alone, in its own time."""
    with tempfile.TemporaryDirectory() as folder, RunLog(Path(folder), quiet=True) as log:
        release(device)
        trainer = ready(config, mano, device, log)
        batches = endless(trainer.loader)

        def step() -> None:
            trainer.train_step(next(batches))

        calls = {"loader": partial(next, batches), "step": step}
        # one after the other: workers that fill a queue during a step would make the loader look fast
        seconds = {
            name: seconds_each({name: call}, device, plan.rounds, plan.repeats)[name]
            for name, call in calls.items()
        }
    return {"pictures": config.train.batch_size, **seconds}


def endless(loader: Iterable[Batch]) -> Iterator[Batch]:
    for epoch in itertools.count():
        loader.set_epoch(epoch)
        yield from loader


def ready(config: Config, mano: ManoLayer, device: torch.device, log: RunLog) -> Trainer:
    """A trainer as train.py has it when its first epoch begins."""
    torch.backends.cudnn.benchmark = True
    trainer = build_trainer(config, mano, device, log)
    trainer.network.train()
    return trainer


def release(device: torch.device) -> None:
    """Memory of the network before."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
