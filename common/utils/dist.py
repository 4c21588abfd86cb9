"""Devices and processes: `--gpu` as typed, one process per GPU."""

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from common.utils.errors import UserError, explained, user_message
from common.utils.interrupt import StopRequest

TORCHRUN = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # with RANK and WORLD_SIZE
STOPPED = (130, 143)  # exit codes after SIGINT and SIGTERM
HIGHEST = 9999  # no machine has more GPUs; keeps a mistyped span short


def parse_devices(text: str | None) -> list[torch.device]:
    """--gpu as typed -> devices that exist, one for each process.

    `0,1` or `0-3` GPUs; `cpu`, or `cpu,cpu` for two processes; None: the first GPU, else the CPU.
    """
    count = torch.cuda.device_count()
    if text is None:
        if not count:
            return [torch.device("cpu")]
        text = "0"
        if is_under_torchrun():  # one for each process on this machine
            text = f"0-{int(os.environ.get('LOCAL_WORLD_SIZE', 1)) - 1}"
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


def peak_gib(device: torch.device) -> float | None:
    """The most memory that tensors have taken on a GPU, GiB; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None


def is_under_torchrun() -> bool:
    """Whether torchrun, or what sets its variables as well, has started this process as one of several."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_first_process() -> bool:
    """Whether this process writes; known before there is a group."""
    return not is_under_torchrun() or os.environ["RANK"] == "0"


def has_launcher() -> bool:
    """Whether another process passes on the signals that it gets."""
    return parent_process() is not None or is_under_torchrun()


def launch(work: Callable[..., None], devices: list[torch.device], *args: Any) -> None:
    """Run work(device, *args) here for one device, else in one process per device, joined in a group.

    Under torchrun: here, with this process's own of the devices. Ends with code 128 + n when signal n was
    to end it.
    """
    if is_under_torchrun():
        _join_torchrun(work, devices, args)
        return
    if len(devices) == 1:
        work(devices[0], *args)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # the error says enough
    context = mp.spawn(_process, args=(work, devices, port, args), nprocs=len(devices), join=False)
    with StopRequest() as request:
        try:
            _wait(context, request)
        except Exception:  # processes that a signal has ended have nothing to tell
            if request.number is None:
                raise
    if request.number is not None:
        sys.exit(128 + request.number)


def _wait(context: mp.ProcessContext, request: StopRequest) -> None:
    """For all processes, or the first one that fails; a request to stop is passed on until they end, for one
    that is just starting may not hear it."""
    try:
        while not context.join(timeout=1):
            if request.number is not None:
                _pass_on(request.number, context.pids())
    except mp.ProcessExitedException as error:
        if error.exit_code in STOPPED:
            sys.exit(error.exit_code)
        raise
    except mp.ProcessRaisedException as error:
        if not user_message(error):
            raise
        raise UserError(user_message(error)) from None


def _pass_on(number: int, processes: list[int]) -> None:
    """A signal to this program's processes; one that has ended needs none."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _join_torchrun(work: Callable[..., None], devices: list[torch.device], args: tuple) -> None:
    """One process of torchrun's, which may be on several machines (env:// rendezvous)."""
    device = torchrun_device(devices, os.environ)
    _prepare(device, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    dist.init_process_group(backend_of(device))
    work(device, *args)
    dist.destroy_process_group()


def torchrun_device(devices: list[torch.device], variables: Mapping[str, str]) -> torch.device:
    """This process's device of those that --gpu names (parse_devices); UserError where they contradict
    torchrun, which has started so many processes on this machine. One `cpu` stands for any number."""
    missing = [name for name in TORCHRUN if name not in variables]
    if missing:
        raise UserError(
            f"RANK and WORLD_SIZE are set but not {', '.join(missing)}: start the script with torchrun, or "
            "unset them for a run of its own"
        )
    number, mine = int(variables["LOCAL_WORLD_SIZE"]), int(variables["LOCAL_RANK"])
    if len(devices) == 1 and devices[0].type == "cpu":
        return devices[0]
    if len(devices) != number:
        raise UserError(
            f"torchrun has started {number} processes on this machine, but --gpu names {len(devices)} "
            f"devices: leave --gpu out, or name {number}"
        )
    return devices[mine]


def _prepare(device: torch.device, processes: int) -> None:
    """Tell torch of this process's device; CPU cores are shared by all the machine's processes."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def backend_of(device: torch.device) -> str:
    return "nccl" if device.type == "cuda" else "gloo"


def _process(
    rank: int, work: Callable[..., None], devices: list[torch.device], port: int, args: tuple
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    device = devices[rank]
    _prepare(device, len(devices))
    dist.init_process_group(backend_of(device), rank=rank, world_size=len(devices))
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


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        dist.barrier()


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean of a tensor over all processes, without gradient; of one process the tensor itself."""
    if world_size() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world_size()
