"""Between the thread that takes frames and the one that works on them: the newest frame wins."""

from __future__ import annotations

import threading
from typing import Any


class Mailbox:
    """Room for one frame: the newest wins, nothing queues."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._message: Any = None
        self._closed = False

    def put(self, message: Any) -> bool:
        """Leave a frame; return whether it replaced one that nobody took."""
        with self._condition:
            replaced, self._message = self._message is not None, message
            self._condition.notify()
        return replaced

    def take(self) -> Any:
        """Wait for a frame; None once the box is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._message is not None or self._closed)
            message, self._message = (None if self._closed else self._message), None
        return message

    def close(self) -> None:
        """Wake whoever waits, for the last time."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
