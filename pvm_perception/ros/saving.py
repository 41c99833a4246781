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
    """
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    name = datetime.now().strftime("robot-%Y%m%d-%H%M%S-%f")
    return home / "pvm_perception" / namespace.strip("/") / f"{name}-{node}-{os.getpid()}.safetensors"


class _Turn:
    """To await: gives the executor a turn for other callbacks."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Saver:
    """Writes models, one at a time, on threads of its own."""

    def __init__(self) -> None:
        self._one = threading.Lock()
        self._threads: set[threading.Thread] = set()

    async def save(self, path: Path, model: tuple[Any, ...]) -> None:
        """Write a model; other callbacks of the executor go on meanwhile.

        Parameters
        ----------
        path
            Where to.
        model
            What `Tracker.snapshot` gave.

        Raises
        ------
        Exception
            Whatever `save_model` raises: PvmError with the reason why it cannot be written.
        """
        errors: list[Exception] = []
        done = threading.Event()
        thread = threading.Thread(target=self._write, args=(lambda: save_model(path, *model), errors, done),
                                  name="saving", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
            while not done.wait(POLL):
                await _Turn()
        finally:
            self._threads.discard(thread)
        if errors:
            raise errors[0]

    def _write(self, write: Callable[[], None], errors: list[Exception], done: threading.Event) -> None:
        try:
            with self._one:
                write()
        except Exception as error:
            errors.append(error)
        finally:
            done.set()

    def finish(self) -> bool:
        """Wait for files in work; return False if one took longer than `PATIENCE`."""
        for thread in list(self._threads):
            thread.join(PATIENCE)
        return not any(thread.is_alive() for thread in self._threads)
