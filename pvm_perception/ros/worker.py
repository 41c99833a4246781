"""The thread that runs the network, one frame after the other; it can be watched and started again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from pvm_perception.ros.mailbox import Mailbox

PATIENCE = 3.0  # s that the end of the node waits for a frame in work


class Worker:
    """Hands the newest message to a function, on a thread of its own, until it is stopped.

    Parameters
    ----------
    work
        Called with each message that is not replaced by a newer one first; must not raise.

    Attributes
    ----------
    restarts : how often a thread that had died was started again
    """

    def __init__(self, work: Callable[[Any], None]) -> None:
        self._work = work
        self._mailbox = Mailbox()
        self._thread: threading.Thread | None = None
        self._begun: float | None = None  # when the message in work was begun, monotonic
        self.restarts = 0

    def start(self) -> None:
        """Start the thread."""
        self._begun = None
        # a daemon: a frame that never ends must not keep the process from ending
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def put(self, message: Any) -> bool:
        """Leave a message; return whether it replaced one that was not begun."""
        return self._mailbox.put(message)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def busy(self) -> float:
        """Return for how long it has worked on the present message, seconds; 0 = it waits."""
        begun = self._begun
        return 0.0 if begun is None else time.monotonic() - begun

    def revive(self) -> bool:
        """Start the thread again if it died; return whether it had."""
        if self.alive:
            return False
        self.restarts += 1
        self.start()
        return True

    def stop(self) -> bool:
        """End the thread; return False if a message in work kept it longer than `PATIENCE`."""
        self._mailbox.close()
        if self._thread is not None:
            self._thread.join(PATIENCE)
        return not self.alive

    def _run(self) -> None:
        while (message := self._mailbox.take()) is not None:
            self._begun = time.monotonic()
            self._work(message)
            self._begun = None
