"""Training and evaluation loops. They receive built objects: a model, a criterion, hands, a loader."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from common.hand.mano import ManoLayer
from common.nets.losses import Criterion, masked_means
from common.targets import add_targets, to_device
from common.utils.checkpoint import save_snapshot, snapshot_path
from common.utils.dist import mean_over_ranks, rank, world_size
from common.utils.errors import UserError
from common.utils.geometry import IMAGE_SIZE
from common.utils.logger import RunLog
from common.utils.optimisation import moving_average, parameter_groups, warmup_cosine
from common.utils.progress import Progress

Batch = dict[str, Any]


class Trainer:
    """Trains a model on a loader; its state holds all that an unbroken run would have had.

    loader: yields batches, knows len() in steps and set_epoch(epoch).
    draw(network, pred, batch) -> {name: uint8 RGB picture} for TensorBoard.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        mano: ManoLayer,
        loader: Iterable[Batch],
        device: torch.device,
        log: RunLog,
        draw: Callable[[nn.Module, Batch, Batch], dict[str, np.ndarray]],
        *,
        epochs: int,
        lr: float,
        weight_decay: float,
        warmup: float,
        grad_clip: float,
        ema: float,
        amp: str,
        log_every: int,
        picture_every: int,
    ):
        cuda = device.type == "cuda"
        self.mano, self.loader, self.device = mano.to(device), loader, device
        self.criterion, self.log, self.draw = criterion.to(device), log, draw
        self.network = model.to(device, memory_format=torch.channels_last)
        frozen = freeze_unread(self.network, self.criterion.reads())
        if frozen:
            log.say(f"frozen: {frozen:,} parameters that no loss term reaches")
        self.model = self.network
        if world_size() > 1:
            self.model = DistributedDataParallel(self.network, device_ids=[device] if cuda else None)
        self.averaged: AveragedModel | None = None
        if ema:
            self.averaged = AveragedModel(self.network, avg_fn=moving_average(ema), use_buffers=True)
        self.amp = amp == "on" or (amp == "auto" and cuda)
        self.grad_clip, self.log_every, self.picture_every = grad_clip, log_every, picture_every
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network, weight_decay), lr=lr, betas=(0.9, 0.98), fused=cuda
        )
        self.epochs, self.epoch, self.step = epochs, 0, 0  # epoch: the next one to train
        factor = warmup_cosine(epochs * len(loader), warmup)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.schedule.get_last_lr()[0]

    def fit(self, folder: Path, about: dict[str, Any]) -> None:
        """Train the epochs that remain; after each, a snapshot that also carries `about`."""
        self.progress = Progress(self.epochs * len(self.loader), done=self.step)
        for epoch in range(self.epoch, self.epochs):
            start = time.perf_counter()
            means = self.train_epoch(epoch)
            self.epoch = epoch + 1
            if rank() == 0:
                snapshot = {**self.state_dict(), "last_epoch": epoch, **about}
                save_snapshot(snapshot, snapshot_path(folder, epoch))
            self.log_epoch(epoch, means, time.perf_counter() - start)

    def log_epoch(self, epoch: int, means: dict[str, float | None], seconds: float) -> None:
        """A line in log.txt, and one in metrics.jsonl of what was measured."""
        measured = {name: value for name, value in means.items() if value is not None}
        self.log.line({"epoch": epoch, "step": self.step, "seconds": round(seconds, 1), **measured})
        ahead = self.progress.line(self.rate)
        self.log.say(f"epoch {epoch}: {seconds:.0f} s, {in_words(means)}; {ahead}")

    def train_epoch(self, epoch: int) -> dict[str, float | None]:
        """One pass over the loader -> mean of the total loss and of every term, None of what no step had."""
        self.model.train()
        self.loader.set_epoch(epoch)
        every_step: dict[str, list[float]] = {}
        bar = tqdm(
            self.loader,
            desc=f"epoch {epoch}/{self.epochs - 1}",
            disable=rank() > 0,
            dynamic_ncols=True,
            mininterval=1,
        )
        for batch in bar:
            batch = add_targets(to_device(batch, self.device), self.mano)
            pred, values = self.train_step(batch)
            for name, value in values.items():
                every_step.setdefault(name, []).extend([] if value is None else [value])
            self.progress.step()
            self.report(bar, pred, batch, values)
            self.step += 1
        return {name: fmean(values) if values else None for name, values in every_step.items()}

    def train_step(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float | None]]:
        """Forward, loss, backward, update -> predictions, and the terms' values with their total."""
        image = batch["img"].contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            pred = self.model(image)
        pred = {key: value.float() for key, value in pred.items()}
        terms, counts = self.criterion(pred, batch)
        total = self.criterion.total(terms)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.grad_clip)
        error, count = masked_means({"MPVPE_mm": vertex_error(pred, batch)})
        values = as_numbers({"total": total, **terms, **error}, {**counts, **count})
        self.require_finite(values, float(norm), batch["id"])
        self.optimizer.step()
        self.schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        return pred, values

    def require_finite(self, values: dict[str, float | None], norm: float, ids: list[str]) -> None:
        """Stop before the optimizer moves on a loss or gradient that is not a number."""
        bad = [name for name, value in values.items() if value is not None and not math.isfinite(value)]
        if bad or not math.isfinite(norm):
            what = f"the loss {', '.join(bad)}" if bad else "the gradient"
            raise UserError(
                f"{what} is not finite at step {self.step}, samples {', '.join(ids[:8])}: snapshots of "
                "earlier epochs are good; start a new run (--exp NAME) with a smaller --set train.lr"
            )

    def report(self, bar: tqdm, pred: Batch, batch: Batch, values: dict[str, float | None]) -> None:
        """Progress bar, time left, TensorBoard scalars and pictures."""
        pictures = len(batch["img"]) * world_size()
        pace = (bar.format_dict["rate"] or 0) * pictures
        loss = f"loss {values['total']:.3f}"
        bar.set_postfix_str(f"{pace:.1f} pictures/s, {loss}, {self.progress.line(self.rate)}", refresh=False)
        if forecast := self.progress.forecast(self.device.type):
            self.log.say(forecast)
        if self.step % self.log_every == 0:
            measured = {name: value for name, value in values.items() if value is not None}
            self.log.scalars("loss", measured, self.step)
            self.log.scalars("train", {"lr": self.rate}, self.step)
        if self.step % self.picture_every == 0 and rank() == 0:
            for name, drawn in self.draw(self.network, pred, batch).items():
                self.log.picture(name, drawn, self.step)

    def state_dict(self) -> dict[str, Any]:
        """Plain data; batches depend on (seed, epoch) alone, so torch's generators are all the chance.

        "network" is what is tested; where that is the moving average, "live" is what goes on learning.
        """
        cuda = self.device.type == "cuda"
        tested = self.network if self.averaged is None else self.averaged.module
        return {
            "network": tested.state_dict(),
            "live": None if self.averaged is None else self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
            "epoch": self.epoch,
            "step": self.step,
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state(self.device) if cuda else None,
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        try:
            self.network.load_state_dict(state.get("live") or state["network"])
            if self.averaged is not None:
                self.averaged.module.load_state_dict(state["network"])
                self.averaged.n_averaged.fill_(state["step"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch, self.step = state["epoch"], state["step"]
            self.schedule.last_epoch = state["schedule"]["last_epoch"]
            torch.set_rng_state(state["random"]["cpu"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise UserError(f"this snapshot cannot be continued: {str(error).splitlines()[-1]}") from None
        if self.device.type == "cuda" and state["random"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)
        for group, base in zip(self.optimizer.param_groups, self.schedule.base_lrs, strict=True):
            group["lr"] = base * self.schedule.lr_lambdas[0](self.schedule.last_epoch)


def vertex_error(pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
    """Vertex distances of the final mesh (B,2,778,1), wrist-aligned, not scaled, mm; which hands count."""
    distance = (pred["verts"].detach() - batch["verts_cam"]).norm(dim=-1, keepdim=True)
    return 1000 * distance, batch["pose_valid"]


def as_numbers(values: dict[str, Tensor], counts: dict[str, Tensor]) -> dict[str, float | None]:
    """Means over all processes as plain numbers, None where nothing was measured; one copy to the host."""
    means = mean_over_ranks(torch.stack([value.detach() for value in values.values()]))
    counted = torch.stack([counts.get(name, torch.ones_like(means[0])) for name in values])
    rows = torch.stack([means, counted]).tolist()
    return {name: mean if count else None for name, mean, count in zip(values, *rows, strict=True)}


def in_words(values: dict[str, float | None]) -> str:
    """For a line of the log; "-" where nothing was measured."""
    return " ".join(f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in values.items())


def freeze_unread(network: nn.Module, read: set[str]) -> int:
    """Freeze what none of the predictions `read` depends on, and count it.

    A parameter without a gradient would stop DistributedDataParallel, and be decayed by the optimizer.
    """
    device = next(network.parameters()).device
    training = network.training
    network.eval()  # leaves no trace in running statistics
    pred = network(torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE, device=device))
    torch.stack([pred[key].sum() for key in read if key in pred]).sum().backward()
    unread = [p for p in network.parameters() if p.requires_grad and p.grad is None]
    for parameter in unread:
        parameter.requires_grad_(False)
    network.zero_grad(set_to_none=True)
    network.train(training)
    return sum(parameter.numel() for parameter in unread)


@torch.inference_mode()
def evaluate(
    predict: Callable[[Batch], dict[str, Tensor]],
    loader: Iterable[Batch],
    mano: ManoLayer,
    device: torch.device,
    consumers: Mapping[str, Callable[[dict[str, Tensor], Batch], None]],
) -> dict[str, float]:
    """Feed every batch's predictions to the named consumers of this process.

    Returns the number of "pictures", and the seconds spent on "predict" and on each consumer by its name.
    """
    spent = dict.fromkeys(("pictures", "predict", *consumers), 0.0)

    def timed(name: str, call: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        result = call(*args)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent[name] += time.perf_counter() - start
        return result

    for batch in tqdm(loader, desc="test", disable=rank() > 0, dynamic_ncols=True, mininterval=1):
        batch = add_targets(to_device(batch, device), mano)
        pred = timed("predict", predict, batch)
        for name, consume in consumers.items():
            timed(name, consume, pred, batch)
        spent["pictures"] += len(batch["img"])
    return spent
