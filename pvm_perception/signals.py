"""What SIGINT, SIGTERM and SIGHUP do: one place for the command line, the nodes and training."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeAlias

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler: TypeAlias = Callable[[int, "FrameType | None"], Any] | int | signal.Handlers | None
AGAIN = 1.0  # s after which another signal is a wish of its own
SLICE = 0.05  # s that a wait may go on after the signal


class Interrupted(KeyboardInterrupt):
    """The signal `number` ended the work."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Stop:
    """Whether a signal came: the work goes on until it looks, and ends in good order.

    As a context manager, what the signals did before is put back at the end. It is no threading.Event,
    because a handler that takes the lock on which its own thread waits would wait forever.

    Parameters
    ----------
    impatient
        Whether one more signal, `AGAIN` s later or more, raises Interrupted at once: for work that may hang.
        What `timeout` and terminals send twice in a moment is one.

    Attributes
    ----------
    number : of the first signal; 0 before
    """

    def __init__(self, impatient: bool = False) -> None:
        self.number, self._since, self._impatient = 0, 0.0, impatient
        self._before = handle(self._take)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if not self.number:
            self.number, self._since = number, time.monotonic()
        elif self._impatient and time.monotonic() - self._since >= AGAIN:
            raise Interrupted(number)

    @property
    def code(self) -> int:
        """The exit code of a process that a signal ended: 0 where none came."""
        return 128 + self.number if self.number else 0

    def is_set(self) -> bool:
        """Tell whether a signal came."""
        return bool(self.number)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for a signal, at most so long; tell whether one came."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self.number:
            left = SLICE if end is None else end - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, SLICE))
        return bool(self.number)

    def __enter__(self) -> Stop:
        return self

    def __exit__(self, *_: object) -> None:
        put_back(self._before)


def interrupt_on_signals() -> list[int]:
    """Let all of them raise Interrupted from now on; return a list to which those that came are added."""
    came: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise Interrupted(number)

    handle(interrupt)
    return came


def let_signals_end() -> None:
    """Let all of them end the process in silence: for the time after the work."""
    handle(signal.SIG_DFL)


def handle(handler: Handler) -> dict[int, Handler]:
    """Set the handler of all of them; return those before. What `nohup` ignores stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        return {}  # signals are the main thread's
    before = {number: signal.getsignal(number) for number in ENDING}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]
    for number in before:
        signal.signal(number, handler)
    # a handler that was not set from Python cannot be put back; the usual one can
    return {n: signal.SIG_DFL if h is None else h for n, h in before.items()}


def put_back(before: dict[int, Handler]) -> None:
    """Set the handlers again that `handle` returned."""
    for number, handler in before.items():
        signal.signal(number, handler)
