"""The one error, and the one warning, that users see as a single line."""

import contextlib
import os
import sys
from collections.abc import Iterator


class PvmError(ValueError):
    """Bad input from a person: says in one line what was wrong and what to do.

    The command line prints it to stderr and exits with 2; the node logs it and goes on.
    """


def warn(message: str) -> None:
    """Tell a person, in one line, that something was left out."""
    print(f"pvm_perception: warning: {message}", file=sys.stderr)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make of whatever the system refuses while a file is written (a full disk) a PvmError that names it."""
    try:
        yield
    except OSError as error:
        raise PvmError(f"{path} cannot be written: {error.strerror or error}") from error
