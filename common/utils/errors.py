"""Mistakes a user can mend: the one exception for them and how a script ends on it."""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path


class UserError(Exception):
    """One clear sentence that names the thing and the way out."""


def user_message(error: Exception) -> str:
    """The sentence of a UserError that another process raised and torch wrapped in a traceback, else ''."""
    _, marker, sentence = str(error).rpartition(f"{__name__}.UserError: ")
    return sentence.strip() if marker else ""


def explained(error: Exception, details: Path | None = None) -> UserError | None:
    """What a user can mend, in one sentence; None for a fault of ours.

    The system's own errors may be a fault of ours all the same, so their traceback is added to the file
    `details` (default: a new temporary one), which the sentence names.
    """
    if isinstance(error, UserError):  # a loader's worker wraps its own in a traceback
        return UserError(user_message(error) or error)
    sentence = _sentence(error)
    if not sentence:
        return None
    place = keep_traceback(error, details)
    return UserError(f"{sentence} (details: {place})" if place else sentence)


def _sentence(error: Exception) -> str:
    """What the system says, in one line; "" for an error that is not the system's."""
    if isinstance(error, OSError):  # a file that cannot be read or written
        place = f"{error.filename}: " if error.filename else ""
        lines = str(error.strerror or error).strip().splitlines()  # a loader's worker sends its traceback
        return place + (lines[-1] if lines else type(error).__name__)
    if isinstance(error, RuntimeError) and "out of memory" in str(error):
        return "out of GPU memory: use a smaller --set train.batch_size or test.batch_size"
    return ""


def keep_traceback(error: BaseException, file: Path | None = None) -> Path | None:
    """Add an error's traceback to a file, by default a new temporary one -> the file; None where even that
    cannot be written."""
    text = "".join(traceback.format_exception(error))
    try:
        if file is None:
            handle, name = tempfile.mkstemp(prefix="lgnet_error_", suffix=".txt")
            os.close(handle)
            file = Path(name)
        with open(file, "a", encoding="utf-8") as log:
            log.write(text)
    except OSError:
        return None
    return file


def run_script(main: Callable[[], None]) -> None:
    """Run an entry script; what `explained` explains becomes one line and exit code 2."""
    try:
        main()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        sentence = explained(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(2)
