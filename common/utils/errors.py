"""Mistakes a user can mend: the one exception for them and how a script ends on it."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """One clear sentence that names the thing and the way out."""


def user_message(error: Exception) -> str:
    """The sentence of a UserError that another process raised and torch wrapped in a traceback, else ''."""
    _, found, sentence = str(error).rpartition(f"{__name__}.UserError: ")
    return sentence.strip() if found else ""


def explained(error: Exception) -> UserError | None:
    """What a user can mend, in one sentence; None for a fault of ours."""
    if isinstance(error, UserError):  # a loader's worker wraps its own in a traceback
        return UserError(user_message(error) or error)
    if isinstance(error, OSError):  # a file that cannot be read or written
        place = f"{error.filename}: " if error.filename else ""
        return UserError(f"{place}{error.strerror or error}")
    if isinstance(error, RuntimeError) and "out of memory" in str(error):
        return UserError("out of GPU memory: use a smaller --set train.batch_size or test.batch_size")
    return None


def run_script(main: Callable[[], None]) -> None:
    """Run an entry script; what `explained` explains becomes one line and exit code 2."""
    try:
        main()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        told = explained(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        sys.exit(2)
