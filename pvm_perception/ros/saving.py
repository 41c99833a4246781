"""Saving a model while the node goes on: copied at once, written on a thread, answered when done."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from datetime import datetime
from pathlib import Path
from typing import Any

from pvm_perception.core.model_file import save_model

POLL = 0.002  # s that a waiting answer keeps the executor, each time its turn comes
PATIENCE = 10.0  # s that the end of the node waits for a file in work


def model_path(namespace: str, node: str) -> Path:
    """Return where a node saves its model: into ROS_HOME, by namespace.

    The name holds the time, the node and its process: no two saves share it.

    Parameters
    ----------
    namespace
        The node's, as "/robot1".
    node
        Its name.
    """
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    name = datetime.now().strftime("robot-%Y%m%d-%H%M%S-%f")
    return home / "pvm_perception" / namespace.strip("/") / f"{name}-{node}-{os.getpid()}.safetensors"


class Writing:
    """A file in work, to await: other callbacks of the executor go on meanwhile.

    Parameters
    ----------
    write
        Writes the file, on the thread that `start` starts.
    """

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self._error: Exception | None = None
        self._done = threading.Event()
        self.thread = threading.Thread(target=self._run, name="saving", daemon=True)

    def _run(self) -> None:
        try:
            self._write()
        except Exception as error:
            self._error = error
        finally:
            self._done.set()

    def __await__(self) -> Generator[None, None, None]:
        """Give the executor its turns until the file is there; raise whatever `write` raised."""
        while not self._done.wait(POLL):
            yield
        if self._error is not None:
            raise self._error


class Saver:
    """Writes models, one at a time, on threads of their own."""

    def __init__(self) -> None:
        self._one = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def save(self, path: Path, model: tuple[Any, ...]) -> Writing:
        """Begin to write a model.

        Parameters
        ----------
        path
            Where to.
        model
            What `Tracker.snapshot` gave.

        Returns
        -------
        Writing
            To await; it then raises PvmError with the reason where the file cannot be written.
        """
        return self.write(path, lambda: save_model(path, *model))

    def write(self, path: Path, work: Callable[[], None]) -> Writing:
        """Begin to write a file, whose folder is made; to await, as of `save`.

        Parameters
        ----------
        path
            The file, whose folder is made.
        work
            Writes it, on a thread of its own.
        """

        def write() -> None:
            try:
                with self._one:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    work()
            finally:
                self._threads.discard(writing.thread)

        writing = Writing(write)
        self._threads.add(writing.thread)
        writing.thread.start()
        return writing

    def finish(self) -> bool:
        """Wait for files in work; return False if one took longer than `PATIENCE`."""
        for thread in list(self._threads):
            thread.join(PATIENCE)
        return not any(thread.is_alive() for thread in self._threads)
