"""Devices and processes: `--gpu` as typed, one process per GPU."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from common.utils.errors import UserError, explained, user_message

HIGHEST = 9999  # no machine has more GPUs; keeps a mistyped span short


def parse_devices(text: str | None) -> list[torch.device]:
    """--gpu as typed -> devices that exist, one for each process.

    `0,1` or `0-3` GPUs; `cpu`, or `cpu,cpu` for two processes; None: the first GPU, else the CPU.
    """
    count = torch.cuda.device_count()
    if text is None:
        return [torch.device("cuda", 0) if count else torch.device("cpu")]
    words = [part.strip().lower() for part in text.split(",")]
    if set(words) == {"cpu"}:
        return [torch.device("cpu") for _ in words]
    indices = _indices(text)
    absent = [str(i) for i in indices if i >= count]
    if absent:
        way_out = f"there are {count}, counted from 0" if count else "this machine has none; use --gpu cpu"
        raise UserError(f"--gpu {text}: no GPU {', '.join(absent)} ({way_out})")
    return [torch.device("cuda", i) for i in indices]


def _indices(text: str) -> list[int]:
    """`0,2-4` -> [0, 2, 3, 4]."""
    indices: list[int] = []
    try:
        for span in text.split(","):
            ends = [int(end) for end in span.split("-")]
            indices += range(ends[0], min(ends[-1], HIGHEST) + 1)
    except ValueError:
        indices = []
    if not indices or len(set(indices)) < len(indices):
        raise UserError(f"--gpu {text}: write numbers like 0,1 or a span like 0-3, or cpu")
    return indices


def launch(work: Callable[..., None], devices: list[torch.device], *args: Any) -> None:
    """Run work(device, *args) here for one device, else in one process per device, joined in a group."""
    if len(devices) == 1:
        work(devices[0], *args)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # the error says enough
    try:
        mp.spawn(_process, args=(work, devices, port, args), nprocs=len(devices))
    except mp.ProcessRaisedException as error:
        if not user_message(error):
            raise
        raise UserError(user_message(error)) from None


def _process(
    rank: int, work: Callable[..., None], devices: list[torch.device], port: int, args: tuple
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    device = devices[rank]
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // len(devices)))
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=len(devices))
    try:
        work(device, *args)
    except Exception as error:
        raise explained(error) or error from None
    # after an error the process just ends: its peers must not fail first, and hide the reason
    dist.destroy_process_group()


def _end_with_parent() -> None:
    """A process whose parent was killed would go on unseen, and write into a folder that nobody guards."""
    wait([parent_process().sentinel])
    os._exit(1)


def rank() -> int:
    """This process's number in the group, from 0; 0 without a group. The first one writes and speaks."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean of a tensor over all processes, without gradient; of one process the tensor itself."""
    if world_size() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world_size()
