"""One step of training. Nothing in it waits for the device or branches on a value that lies there, so that
the same code runs plainly and inside a CUDA graph (graph.py)."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from common.hand.mano import ManoLayer
from common.nets.losses import Criterion, masked_means
from common.targets import add_targets, to_device
from common.training.buffers import MovingAverage, kept_buffers, share_storage
from common.utils.dist import mean_over_ranks, world_size
from common.utils.errors import UserError
from common.utils.optimisation import LossScale, freeze_unread, parameter_groups

Batch = dict[str, Any]


class TrainStep:
    """Forward, loss, backward and update of one batch; what it has to say are `names`, numbers in a row.

    A loss or gradient that is not finite stops it for good: weights, statistics, averages and the optimizer
    stay as they were before that step, in all later steps too, until somebody reads the rows.
    lr, share (of the moving average) and wants_stop are scalars on the device, to be set before a step.
    """

    def __init__(
        self,
        network: nn.Module,
        criterion: Criterion,
        mano: ManoLayer,
        device: torch.device,
        *,
        weight_decay: float,
        grad_clip: float,
        averaged: bool,
        precision: torch.dtype | None,
        accumulate: int,
        captured: bool,
    ):
        """precision: of autocast, None for none; accumulate: parts a batch is cut into to save memory;
        captured: whether a CUDA graph will be made of it."""
        self.network, self.device = network, device
        self.criterion, self.mano = criterion.to(device), mano.to(device)
        self.grad_clip, self.precision, self.accumulate = grad_clip, precision, accumulate
        self.captured = captured
        self.lr, self.share, self.wants_stop = torch.zeros(3, device=device).unbind()
        self.bad = torch.zeros((), device=device)
        self.buffers = share_storage(kept_buffers(network))
        self.average: MovingAverage | None = None
        if averaged:
            self.average = MovingAverage(network, copy.deepcopy(network), self.buffers)
        self.model = network
        if world_size() > 1:
            self.model = DistributedDataParallel(network, [device] if device.type == "cuda" else None)
        self.scale = LossScale(device) if precision == torch.float16 else None
        # the fused one is told on the device not to move, and the rate as well
        groups = parameter_groups(network, weight_decay)
        self.optimizer = torch.optim.AdamW(
            groups, lr=self.lr, betas=(0.9, 0.98), fused=True, capturable=captured
        )
        self.optimizer.grad_scale = None
        self.names: list[str] = []

    def __call__(self, batch: Batch) -> tuple[Batch, Batch, Tensor]:
        """A batch of raw facts -> predictions, the batch with its targets, and the row."""
        batch = add_targets(to_device(batch, self.device), self.mano)
        pred, row = self.learn(batch)
        return pred, batch, row

    def learn(self, batch: Batch) -> tuple[Batch, Tensor]:
        """A batch with its targets -> predictions and the row (2 names + 3,): means, of how many values each
        is the mean, whether a process wants to stop, the norm of the gradient, whether all is lost."""
        before = [flat.clone() for flat in self.buffers]
        self.optimizer.zero_grad(set_to_none=True)
        pred, terms, counts = self.gradients(batch)
        error, hands = masked_means({"MPVPE_mm": vertex_error(pred, batch)})
        values = {"total": self.criterion.total(terms), **terms, **error}
        counts = {"total": torch.ones_like(self.lr), **counts, **hands}
        self.names = list(values)
        means = mean_over_ranks(torch.stack([*values.values(), self.wants_stop]))
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.grad_clip)
        self.update(self.holds(means, norm), before)
        return pred, torch.cat([means[:-1], torch.stack([*counts.values(), means[-1], norm, self.bad])])

    def gradients(self, batch: Batch) -> tuple[Batch, dict[str, Tensor], dict[str, Tensor]]:
        """Gradients of the whole batch, part by part -> predictions, terms, and of how many values each is
        the mean. Every process's parts are as large; a handful of pictures is not cut."""
        size = len(batch["img"])
        number = self.accumulate if size % self.accumulate == 0 else 1
        parts = [part_of(batch, slice(i, i + size // number)) for i in range(0, size, size // number)]
        preds, sums, counts = [], {}, None
        for part in parts:
            with self.silent(part is not parts[-1]):
                pred = self.forward(part["img"])
                if number > 1 and counts is None:
                    counts = self.counts(pred, parts)
                terms, counts = self.criterion(pred, part, counts)
                total = self.criterion.total(terms)
                (total if self.scale is None else total * self.scale.value).backward()
            preds.append({key: value.detach() for key, value in pred.items()})
            sums = {name: value.detach() + sums.get(name, 0) for name, value in terms.items()}
        if self.scale is not None:
            self.scale.take_out(self.network.parameters())
        joined = preds[0]
        if number > 1:
            joined = {key: torch.cat([pred[key] for pred in preds]) for key in preds[0]}
        return joined, sums, counts

    def forward(self, image: Tensor) -> Batch:
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
            pred = self.model(image)
        return {key: value.float() for key, value in pred.items()}

    @torch.no_grad()
    def counts(self, pred: Batch, parts: list[Batch]) -> dict[str, Tensor]:
        """Of how many values of the whole batch each term is the mean: labels alone decide, so that the
        predictions of any part do for all of them."""
        sums: dict[str, Tensor] = {}
        for part in parts:
            _, counts = self.criterion(pred, part)
            sums = {name: count + sums.get(name, 0) for name, count in counts.items()}
        return sums

    def silent(self, more: bool) -> AbstractContextManager:
        """Processes add their gradients up once a step, not after each part."""
        return self.model.no_sync() if more and self.model is not self.network else nullcontext()

    def holds(self, means: Tensor, norm: Tensor) -> Tensor:
        """Whether this step may move anything: 1 or 0, the same in every process. What is not finite is the
        end, but for a gradient that only float16's scale has made too large."""
        finite, small = means.isfinite().all(), norm.isfinite()
        lost = ~(finite & small)
        if self.scale is not None:
            lost = ~finite | (~small & self.scale.is_least())
            self.scale.adapt(small)
        self.bad.copy_(self.bad.bool() | lost)
        return ((self.bad == 0) & small).float()

    @torch.no_grad()
    def update(self, moves: Tensor, before: list[Tensor]) -> None:
        """Weights, statistics and averages, if it moves (1, else 0)."""
        self.optimizer.found_inf = 1 - moves
        self.optimizer.step()
        for flat, old in zip(self.buffers, before, strict=True):
            flat.copy_(torch.where(moves > 0, flat, old))
        if self.average is not None:
            self.average.update(self.share * moves)

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Its moments; the learning rate stays the scalar that is set before a step."""
        self.optimizer.load_state_dict(state)
        for group in self.optimizer.param_groups:
            group.update(lr=self.lr, fused=True, capturable=self.captured)


Step = Callable[[Batch], tuple[Batch, Batch, Tensor]]


def part_of(batch: Batch, samples: slice) -> Batch:
    """Some samples of a batch."""
    return {key: value[samples] for key, value in batch.items()}


def vertex_error(pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
    """Vertex distances of the final mesh (B,2,778,1), wrist-aligned, not scaled, mm; which hands count."""
    distance = (pred["verts"] - batch["verts_cam"]).norm(dim=-1, keepdim=True)
    return 1000 * distance, batch["pose_valid"]


def autocast_type(amp: str, device: torch.device) -> torch.dtype | None:
    """The type of autocast that train.amp asks for, None for none: bfloat16, or float16 where a GPU lacks
    it. auto is on where it is faster: on GPUs, and on CPUs that multiply tiles of bfloat16."""
    cuda = device.type == "cuda"
    if amp == "off" or (amp == "auto" and not cuda and not has_bf16_tiles()):
        return None
    if amp == "fp16" or (cuda and not torch.cuda.is_bf16_supported(including_emulation=False)):
        return torch.float16
    return torch.bfloat16


def has_bf16_tiles() -> bool:
    """Whether this CPU has Intel's AMX, as far as this torch can tell."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16", False))


def ready_network(
    network: nn.Module, criterion: Criterion, device: torch.device, sync_batchnorm: bool, say: Callable
) -> nn.Module:
    """A network on its device, as a step of training takes it; what no loss term reaches is frozen."""
    network = network.to(device, memory_format=torch.channels_last)
    frozen = freeze_unread(network, criterion.reads())
    if frozen:
        say(f"frozen: {frozen:,} parameters that no loss term reaches")
    if sync_batchnorm and world_size() > 1:
        network = synchronised(network, device)
    return network


def synchronised(network: nn.Module, device: torch.device) -> nn.Module:
    """BatchNorm's statistics over the batches of all processes."""
    if device.type != "cuda":
        raise UserError("train.sync_batchnorm: torch has it on GPUs only; leave it out with --gpu cpu")
    return nn.SyncBatchNorm.convert_sync_batchnorm(network)
