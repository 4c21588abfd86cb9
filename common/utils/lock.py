"""One writer per folder: a lock that dies with its process, and words about who holds it."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import filelock

from common.utils.errors import UserError
from common.utils.files import write_json

PATIENCE = 6.0  # seconds; loader processes of a killed run hold its lock until they notice, within five


@contextmanager
def only_writer(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a run's folder, which is made; UserError, naming the other process, if another one does.

    The operating system keeps the lock, so a run that was killed leaves no obstacle; `holder.json`
    is for people. On a file system that knows no locks `say` is told, and nothing is guarded.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from None
    holder = folder / "holder.json"
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=PATIENCE)
    except filelock.Timeout:
        raise UserError(
            f"another run writes to {folder}: {_describe(holder)}; wait, stop it, or --exp NAME for a new run"
        ) from None
    except RuntimeError:
        say(f"note: the file system of {folder} knows no locks: start no second run there")
        yield
        return
    try:
        started = datetime.now().isoformat(" ", "seconds")
        write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "started": started})
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe(holder: Path) -> str:
    """The process that wrote the file, in words."""
    try:
        other = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {other['pid']} on {other['host']}, started {other['started']}"
    except (OSError, ValueError, KeyError):  # it is just starting or just ending
        return "a process that has not said its name yet"
