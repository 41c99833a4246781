"""Files that are written whole or not at all, and are on the disk when they have their name."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from pvm_perception.errors import PvmError

PART = re.compile(r"\.pvm-[0-9a-f]{16}\.part(\..*)?")  # the name of a file that is being written


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], what: str = "file") -> Iterator[Path]:
    """Give a temporary file to write; after the block it takes the place of `path` in one move.

    The temporary file lies in the same folder, exists already, is empty and has the suffix of `path` and
    the mode that the umask allows. Its name is unique, so two writers of one `path` never mix: the last one
    wins. It is locked while it is written; what a killed process left in the folder has lost its lock and
    is removed by the next writer there. Folders that are missing are made. Where `path` is a link, the file
    it points to is replaced; where it is a device or a pipe, it is written to directly.

    Parameters
    ----------
    path
        Where to.
    what
        What is written, for the messages.

    Yields
    ------
    Path
        The temporary file; the block writes it and closes it.

    Raises
    ------
    PvmError
        In one line, with the reason, where anything cannot be written (disk full, no permission, read-only,
        a folder in the way); what was at `path` before is untouched then, and no temporary file stays.
    """
    path = Path(path)
    try:
        place = Path(os.path.realpath(path))
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if place.exists() and not place.is_file():
            yield place
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place.parent)
        part, lock = _new_part(place)
        try:
            yield part
            _flush(part)
            part.replace(place)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            os.close(lock)
        with _unless(errno.EINVAL):  # a file system whose folders need no flushing
            _flush(place.parent)
    except OSError as error:
        raise PvmError(f"cannot write the {what} to {path}: {error.strerror or error}") from error


def _new_part(place: Path) -> tuple[Path, int]:
    """Make a temporary file for `place`; return it and the descriptor that holds its lock."""
    while True:
        part = place.with_name(f".pvm-{secrets.token_hex(8)}.part{place.suffix}")
        lock = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks: then nothing is swept either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if part.exists():  # else a sweep came between the file and its lock
            return part, lock
        os.close(lock)


def _sweep(folder: Path) -> None:
    """Remove the temporary files in `folder` whose writers are gone, as their locks tell."""
    with contextlib.suppress(
        OSError
    ):  # what cannot be listed cannot be written either: that is reported there
        parts = [p for p in folder.iterdir() if PART.fullmatch(p.name)]
        for part in parts:
            with contextlib.suppress(OSError):  # in work, another user's, or swept by another at this moment
                lock = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    part.unlink()
                finally:
                    os.close(lock)


@contextlib.contextmanager
def _unless(number: int) -> Iterator[None]:
    """Let an OSError of this number pass in silence."""
    try:
        yield
    except OSError as error:
        if error.errno != number:
            raise


def _flush(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
