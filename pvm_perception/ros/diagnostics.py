"""Counters of the node and their summary for /diagnostics."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from pvm_perception.ros.worker import Worker

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
WINDOW = 60  # frames over which rates and times are averaged
REMEMBERED = 1000  # frames whose outcome is remembered: more than come within a `frame_timeout`


@dataclass
class FrameTimes:
    """When one frame passed the worker's stations; seconds, all but the first two monotonic."""

    stamp: float  # the image's; 0 = it has none
    found: float  # when the worker began, on the clock that stamps are of
    begun: float = field(default_factory=time.monotonic)
    decoded: float = 0.0
    looked: float = 0.0
    published: float = 0.0

    def stages(self) -> dict[str, float]:
        """Return how old the frame was when begun, what each stage took, and its age at the end, s."""
        wait = max(self.found - self.stamp, 0.0) if self.stamp else 0.0
        step = self.published - self.begun
        return {
            "age": wait + step if self.stamp else 0.0,
            "age when begun": wait,
            "decode": self.decoded - self.begun,
            "look": self.looked - self.decoded,
            "publish": self.published - self.looked,
            "step time": step,
        }


STAGES = tuple(FrameTimes(0.0, 0.0).stages())


@dataclass
class Health:
    """What the node has seen; the executor's thread and the worker write, each its own fields."""

    started: float = field(default_factory=time.monotonic)
    received: int = 0
    dropped: int = 0
    too_old: int = 0
    malformed: int = 0
    failed: int = 0
    last_fault: str = ""
    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    outcomes: deque[tuple[float, str]] = field(  # when a frame was done with, and its fault or ""
        default_factory=lambda: deque(maxlen=REMEMBERED)
    )
    waiting: float | None = None  # since when frames come without an answer, monotonic
    restarted: float = -math.inf  # when the worker's thread was last started again, monotonic
    stages: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    surprise: float = 0.0
    worked: tuple[float, float] = field(  # monotonic and the process's own time, at the last report
        default_factory=lambda: (time.monotonic(), time.process_time())
    )
    lock: threading.Lock = field(default_factory=threading.Lock)

    def arrived(self, wanted: bool = True) -> None:
        """Count a frame that came in; one that is not wanted needs no answer."""
        with self.lock:
            now = time.monotonic()
            self.received += 1
            self.arrivals.append(now)
            if not wanted:
                self.waiting = None
            elif self.waiting is None:
                self.waiting = now

    def processed(self, times: FrameTimes, surprise: float) -> None:
        """Count a frame that became detections.

        Parameters
        ----------
        times
            When it passed the worker's stations.
        surprise
            Mean over the units.
        """
        with self.lock:
            self.stages.append(times.stages())
            self.outcomes.append((time.monotonic(), ""))
            self.surprise, self.waiting = surprise, None

    def fault(self, kind: str, reason: str) -> None:
        """Count a frame without an answer; `kind` is "malformed", "failed" or "too_old".

        Parameters
        ----------
        kind
            "malformed", "failed" or "too_old".
        reason
            One line.
        """
        with self.lock:
            setattr(self, kind, getattr(self, kind) + 1)
            self.last_fault = reason
            self.outcomes.append((time.monotonic(), reason))

    def silence(self) -> float:
        """Return the seconds since the last frame, or since the start."""
        with self.lock:
            return time.monotonic() - (self.arrivals[-1] if self.arrivals else self.started)

    def unanswered(self) -> float:
        """Return for how many seconds frames have come without any answer."""
        with self.lock:
            return 0.0 if self.waiting is None else time.monotonic() - self.waiting

    def lost(self, seconds: float) -> tuple[int, int, str]:
        """Return (frames without an answer, frames done with, the last reason) of the last seconds."""
        with self.lock:
            since = time.monotonic() - seconds
            recent = [reason for when, reason in self.outcomes if when >= since]
            bad = [reason for reason in recent if reason]
            return len(bad), len(recent), bad[-1] if bad else ""

    def values(self) -> dict[str, Any]:
        """Return the figures under the names that diagnostics show."""
        with self.lock:
            a = list(self.arrivals)
            rate = (len(a) - 1) / (a[-1] - a[0]) if len(a) > 1 and a[-1] > a[0] else 0.0
            if a and time.monotonic() - a[-1] > 2:
                rate = 0.0
            mean = {
                f"{k} (ms)": f"{1e3 * sum(s[k] for s in self.stages) / max(len(self.stages), 1):.1f}"
                for k in STAGES
            }
            before, self.worked = self.worked, (time.monotonic(), time.process_time())
            share = (self.worked[1] - before[1]) / max(self.worked[0] - before[0], 1e-3)
            return {
                "input rate (Hz)": f"{rate:.1f}",
                **mean,
                "CPU (% of a core)": f"{100 * share:.0f}",
                "frames": self.received,
                "dropped frames": self.dropped,
                "frames too old": self.too_old,
                "malformed images": self.malformed,
                "failed frames": self.failed,
                "last fault": self.last_fault,
                "surprise": f"{self.surprise:.5f}",
            }


def judge(
    health: Health,
    worker: Worker,
    timeout: float,
    topic: str,
    publishers: Callable[[], list[str]],
    left_out: str,
) -> tuple[bytes, str]:
    """Return the state of a tracker that should be at work: a level of DiagnosticStatus and why.

    Parameters
    ----------
    health
        What was counted so far.
    worker
        The thread that runs the network.
    timeout
        Seconds: of silence from which it is a warning, of frames without an answer from which it is an
        error, and over which faults are counted.
    topic, publishers
        The resolved input topic and its publishers' quality of service, for the words.
    left_out
        Which optional input cannot be used and why; empty where none.
    """
    silence, (bad, done, reason) = health.silence(), health.lost(timeout)
    if not worker.alive or time.monotonic() - health.restarted <= max(timeout, 1.0):
        return ERROR, (
            f"the network's thread ended and is started again, {worker.restarts} times so far; "
            "the log says why"
        )
    if worker.busy() > timeout:
        return ERROR, (
            f"one frame has kept the network busy for {worker.busy():.1f} s; if it lasts, restart the node"
        )
    if silence > timeout:
        offered = "; ".join(publishers()) or "nobody publishes it"
        return WARN, f"no frame for {silence:.1f} s on {topic} ({offered})"
    if health.unanswered() > timeout:
        why = reason or "the network does not keep up"
        return ERROR, f"frames come on {topic}, but none was answered for {health.unanswered():.1f} s: {why}"
    if 2 * bad > done:
        return ERROR, f"most frames are unusable: {reason}"
    if 10 * bad > done:
        return WARN, f"{bad} of the last {done} frames are unusable: {reason}"
    if left_out:
        return WARN, f"tracking, but {left_out}"
    return OK, "tracking"


def name_of(node: Any, part: str) -> str:
    """Return the name of one of a node's entries; /diagnostics is one topic for all namespaces.

    Parameters
    ----------
    node
        Whose entry it is.
    part
        Which of its entries.
    """
    return f"{node.get_fully_qualified_name()[1:]}: {part}"


def entry(level: bytes, name: str, message: str, values: dict[str, Any]) -> DiagnosticStatus:
    """Return one status for /diagnostics.

    Parameters
    ----------
    level
        `OK`, `WARN` or `ERROR`.
    name
        As `name_of` gives it.
    message
        The state in one line.
    values
        Figures by their names; they are shown as `str` writes them.
    """
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        hardware_id="",
        values=[KeyValue(key=k, value=str(v)) for k, v in values.items()],
    )
