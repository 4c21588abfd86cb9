"""Training and evaluation loops. They receive built objects: a step of training, hands, a loader."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from common.hand.mano import ManoLayer
from common.targets import add_targets, to_device
from common.training.graph import GraphedStep
from common.training.readings import NORM, Means, Reading, in_words
from common.training.snapshots import Snapshots
from common.training.step import Step, TrainStep
from common.utils.dist import barrier, has_launcher, peak_gib, rank, world_size
from common.utils.errors import UserError
from common.utils.interrupt import StopRequest, deaf_workers
from common.utils.logger import RunLog
from common.utils.optimisation import moving_average, warmup_cosine
from common.utils.progress import FORECAST, Progress, Waiting
from common.utils.timing import wait_for

Batch = dict[str, Any]


class Trainer:
    """Takes steps through a loader, epoch by epoch; its state holds all that an unbroken run would have.

    loader: yields batches, knows len() in steps and set_epoch(epoch, batches done).
    draw(network, pred, batch) -> {name: uint8 RGB picture} for TensorBoard.
    validate(network) -> {metric: value}, after each epoch and in every process; None: nothing is measured.
    The numbers of a step stay on the device until they are read, every `log_every` steps.
    """

    def __init__(
        self,
        step: TrainStep,
        loader: Iterable[Batch],
        log: RunLog,
        draw: Callable[[nn.Module, Batch, Batch], dict[str, np.ndarray]],
        *,
        epochs: int,
        lr: float,
        warmup: float,
        ema: float,
        cuda_graph: str,
        log_every: int,
        picture_every: int,
        validate: Callable[[nn.Module], dict[str, float | None]] | None = None,
    ):
        self.loader, self.log, self.draw, self.validate = loader, log, draw, validate
        self.plain_step, self.network, self.device = step, step.network, step.device
        self.make_step: Step = step
        if step.captured:
            self.make_step = GraphedStep(step, cuda_graph == "auto", log.say)
        self.log_every, self.picture_every = log_every, picture_every
        self.factor, self.lr = warmup_cosine(epochs * len(loader), warmup), lr
        self.share = moving_average(ema)
        self.epochs, self.progress, self.waiting = epochs, Progress(epochs * len(loader)), Waiting()
        self.epoch, self.batch, self.step = 0, 0, 0  # the next ones: epoch, batch in it, step of the run
        self.seconds, self.means = 0.0, Means()  # of the epoch so far
        self.best: list[float] | None = None  # score and epoch of the best one so far
        self.unread: list[tuple[Tensor, list[str]]] = []  # rows of the last steps and their samples
        self.request, self.seen_stop, self.stopping = StopRequest(), False, False

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.lr * self.factor(self.step)

    def fit(self, snapshots: Snapshots, about: dict[str, Any]) -> bool:
        """Train the epochs that remain -> whether they were trained; False: `request` was to stop.

        Every snapshot also carries `about`.
        """
        self.progress = Progress(self.epochs * len(self.loader), done=self.step)
        with StopRequest(patient=has_launcher()) as self.request:
            try:
                while self.epoch < self.epochs and not self.stopping:
                    if self.train_epoch(snapshots, about):
                        self.finish_epoch()
                    self.save(snapshots, about)
                barrier()  # no process ends before the first one has written
            except RuntimeError:  # the signal has ended the loader's processes, too, perhaps within a step
                if self.request.number is None:
                    raise
        return self.epoch == self.epochs

    def train_epoch(self, snapshots: Snapshots, about: dict[str, Any]) -> bool:
        """What remains of an epoch -> whether it was trained, or there was a wish to stop before its end."""
        start = time.perf_counter() - self.seconds
        self.network.train()
        self.loader.set_epoch(self.epoch, self.batch)
        bar = tqdm(
            deaf_workers(self.loader),
            desc=f"epoch {self.epoch}/{self.epochs - 1}",
            initial=self.batch,
            total=len(self.loader),
            disable=rank() > 0,
            dynamic_ncols=True,
            mininterval=1,
        )
        for batch in self.waiting.each(bar):
            self.train_step(batch)
            self.seconds = time.perf_counter() - start
            at_end = self.batch == len(self.loader)
            if self.step % self.log_every == 0 or at_end or self.tells_to_stop():
                self.report(bar, len(batch["img"]))
                self.stopping = self.seen_stop  # here all processes have read the same rows
            if self.progress.timed == FORECAST:
                self.read()  # waits, or it would be the pace of filling the device's queue
                self.log.say(self.progress.forecast(self.device.type))
            if world_size() == 1 and self.request.number is not None:
                self.stopping = True
            if self.stopping and not at_end:
                return False
            if rank() == 0 and not at_end and snapshots.due():
                self.save(snapshots, about)
        self.read()
        return True

    def train_step(self, batch: Batch) -> None:
        """One step; its numbers stay on the device."""
        self.plain_step.lr.fill_(self.rate)
        self.plain_step.share.fill_(self.share(self.step))
        self.plain_step.wants_stop.fill_(self.request.number is not None)
        pred, batch, row = self.make_step(batch)
        self.unread.append((row, batch["id"]))
        if self.step % self.picture_every == 0 and rank() == 0:
            for name, drawn in self.draw(self.network, pred, batch).items():
                self.log.picture(name, drawn, self.step)
        self.step += 1
        self.batch += 1
        self.progress.step()

    def tells_to_stop(self) -> bool:
        """Whether the last step says so, which all processes hear. A GPU would have to be waited for."""
        if self.device.type != "cpu" or not self.unread:
            return False
        return Reading.of(self.plain_step.names, self.unread[-1][0].tolist()).stop

    def read(self) -> Means:
        """Wait for the device -> means of the steps since the last time; UserError where one was not finite.

        The state is then that before the bad step, in every process.
        """
        recent = Means()
        if not self.unread:
            return recent
        rows = torch.stack([row for row, _ in self.unread]).tolist()
        first = self.step - len(rows)
        for number, row in enumerate(rows):
            reading = Reading.of(self.plain_step.names, row)
            if reading.bad:
                self.step, self.batch = first + number, self.batch - len(rows) + number
                samples = ", ".join(self.unread[number][1][:8])
                raise UserError(
                    f"{reading.culprit()} is not finite at step {self.step}, samples {samples}: snapshots of "
                    "earlier steps are good; start a new run (--exp NAME) with a smaller --set train.lr"
                )
            self.seen_stop = self.seen_stop or reading.stop
            recent.add(reading.values)
            self.means.add(reading.values)
        self.unread.clear()
        return recent

    def report(self, bar: tqdm, pictures: int) -> None:
        """Progress bar, a line of log.txt and TensorBoard's scalars, of the steps since the last time.

        pictures: of this process in a step.
        """
        recent = self.read().values()
        pace = (bar.format_dict["rate"] or 0) * pictures * world_size()
        line = f"{pace:.1f} pictures/s, loss {recent['total']:.3f}, {self.progress.line(self.rate)}"
        bar.set_postfix_str(line, refresh=False)
        self.log.note(f"epoch {self.epoch}, step {self.batch} of {len(self.loader)}: {line}")
        speed = {"pictures_per_second": pace, "share_of_waiting_for_data": self.waiting.share()}
        self.log.scalars("speed", {**speed, "peak_gpu_gib": peak_gib(self.device)}, self.step)
        self.log.scalars("train", {"lr": self.rate, NORM: recent.pop(NORM)}, self.step)
        self.log.scalars("loss", recent, self.step)

    def finish_epoch(self) -> None:
        """Measure the network, if wished; lines in log.txt and metrics.jsonl; the next epoch is to come."""
        means = self.means.values()
        measured = {name: value for name, value in means.items() if value is not None}
        line = {"epoch": self.epoch, "step": self.step, "seconds": round(self.seconds, 1), **measured}
        words, ahead = in_words(means), self.progress.line(self.rate)
        self.log.say(f"epoch {self.epoch}: {self.seconds:.0f} s, {words}; {ahead}")
        score = measured.get("MPVPE_mm", measured["total"])
        if self.validate is not None:
            line["validation"] = self.validate(self.tested)
            self.log.say(f"epoch {self.epoch}, validation: {in_words(line['validation'])}")
            self.log.scalars("validation", line["validation"], self.step)
            score = line["validation"].get("MPJPE") or score
        self.log.line(line)
        self.best = min(self.best or [score, self.epoch], [score, self.epoch])
        self.epoch, self.batch, self.seconds, self.means = self.epoch + 1, 0, 0.0, Means()

    @property
    def tested(self) -> nn.Module:
        """The moving average where there is one."""
        average = self.plain_step.average
        return self.network if average is None else average.network

    def save(self, snapshots: Snapshots, about: dict[str, Any]) -> None:
        """A snapshot of now, which is known to be good, by the first process."""
        self.read()
        if rank() > 0:
            return
        best = None if self.best is None else self.best[1]
        state = {**self.state_dict(), **about}
        if self.batch:
            snapshots.write(state, self.epoch, self.batch, best)
        else:
            snapshots.write({**state, "last_epoch": self.epoch - 1}, self.epoch - 1, None, best)

    def state_dict(self) -> dict[str, Any]:
        """Plain data; batches depend on (seed, epoch, batch) alone, so torch's generators are all the chance.

        "network" is what is tested; where that is the moving average, "live" is what goes on learning.
        """
        cuda = self.device.type == "cuda"
        average, scale = self.plain_step.average, self.plain_step.scale
        return {
            "network": self.tested.state_dict(),
            "live": None if average is None else self.network.state_dict(),
            "optimizer": self.plain_step.optimizer.state_dict(),
            "loss_scale": None if scale is None else scale.state,
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "epoch_so_far": {"seconds": self.seconds, "sums": self.means.sums},
            "best": self.best,
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state(self.device) if cuda else None,
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        average, scale = self.plain_step.average, self.plain_step.scale
        try:
            self.network.load_state_dict(state.get("live") or state["network"])
            if average is not None:
                average.network.load_state_dict(state["network"])
            if scale is not None and state["loss_scale"] is not None:
                scale.state.copy_(state["loss_scale"])
            self.plain_step.load_optimizer(state["optimizer"])
            self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
            self.seconds = state["epoch_so_far"]["seconds"]
            self.means, self.best = Means(state["epoch_so_far"]["sums"]), state["best"]
            torch.set_rng_state(state["random"]["cpu"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise UserError(f"this snapshot cannot be continued: {str(error).splitlines()[-1]}") from None
        if self.device.type == "cuda" and state["random"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)
        self.log.forget(self.epoch)


@torch.inference_mode()
def evaluate(
    predict: Callable[[Batch], dict[str, Tensor]],
    loader: Iterable[Batch],
    mano: ManoLayer,
    device: torch.device,
    consumers: Mapping[str, Callable[[dict[str, Tensor], Batch], None]],
    title: str = "test",
) -> dict[str, float]:
    """Feed every batch's predictions to the named consumers of this process; title: of the progress bar.

    Returns the number of "pictures", and the seconds spent on "predict" and on each consumer by its name.
    """
    spent = dict.fromkeys(("pictures", "predict", *consumers), 0.0)

    def timed(name: str, call: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        result = call(*args)
        wait_for(device)
        spent[name] += time.perf_counter() - start
        return result

    for batch in tqdm(loader, desc=title, disable=rank() > 0, dynamic_ncols=True, mininterval=1):
        batch = add_targets(to_device(batch, device), mano)
        pred = timed("predict", predict, batch)
        for name, consume in consumers.items():
            timed(name, consume, pred, batch)
        spent["pictures"] += len(batch["img"])
    return spent
