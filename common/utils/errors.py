"""Mistakes a user can mend: the one exception for them and how a script ends on it."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """One clear sentence that names the thing and the way out."""


def run_script(main: Callable[[], None], *also: type[Exception]) -> None:
    """Run an entry script; a UserError (or one of `also`) becomes one line and exit code 2."""
    try:
        main()
    except (UserError, *also) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
