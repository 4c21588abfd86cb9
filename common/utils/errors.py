"""Mistakes a user can mend: the one exception for them and how a script ends on it."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """One clear sentence that names the thing and the way out."""


def user_message(error: Exception) -> str:
    """The sentence of a UserError that another process raised and torch wrapped in a traceback, else ''."""
    _, found, sentence = str(error).rpartition(f"{__name__}.UserError: ")
    return sentence.strip() if found else ""


def run_script(main: Callable[[], None], *also: type[Exception]) -> None:
    """Run an entry script; a UserError, a file that cannot be read or written (or one of `also`)
    becomes one line and exit code 2."""
    try:
        main()
    except (UserError, *also) as error:
        print(f"error: {user_message(error) or error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
