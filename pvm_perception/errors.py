"""The one error, and the one warning, that users see as a single line."""

import sys


class PvmError(ValueError):
    """Bad input from a person: says in one line what was wrong and what to do.

    The command line prints it to stderr and exits with 2; the node logs it and goes on.
    """


def warn(message: str) -> None:
    """Tell a person, in one line, that something was left out."""
    print(f"pvm_perception: warning: {message}", file=sys.stderr)
