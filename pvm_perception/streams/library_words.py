"""What libraries write on this process's stderr, past Python: OpenCV and what it is built of."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def heard() -> Iterator[list[str]]:
    """Keep what anybody writes on stderr; the lines are in the list at the end of the block."""
    lines: list[str] = []
    with tempfile.TemporaryFile() as file:
        console = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(console, 2)
            os.close(console)
            file.seek(0)
            lines += file.read().decode(errors="replace").splitlines(keepends=True)


@contextlib.contextmanager
def without(remark: str) -> Iterator[None]:
    """Leave out a remark.

    Parameters
    ----------
    remark
        Lines with it are left out; all others come at the end of the block.
    """
    lines: list[str] = []
    try:
        with heard() as lines:
            yield
    finally:
        os.write(2, "".join(line for line in lines if remark not in line).encode())
