"""Counters of the node and their summary for /diagnostics."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

WINDOW = 60  # frames over which rates and times are averaged


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
        return {"age": wait + step if self.stamp else 0.0, "age when begun": wait,
                "decode": self.decoded - self.begun, "look": self.looked - self.decoded,
                "publish": self.published - self.looked, "step time": step}


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
    arrivals: deque = field(default_factory=lambda: deque(maxlen=WINDOW))
    stages: deque = field(default_factory=lambda: deque(maxlen=WINDOW))  # of FrameTimes.stages
    surprise: float = 0.0
    worked: tuple[float, float] = field(  # monotonic and the process's own time, at the last report
        default_factory=lambda: (time.monotonic(), time.process_time()))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def arrived(self) -> None:
        """Count a frame that came in."""
        with self.lock:
            self.received += 1
            self.arrivals.append(time.monotonic())

    def processed(self, times: FrameTimes, surprise: float) -> None:
        """Count a frame that became detections."""
        with self.lock:
            self.stages.append(times.stages())
            self.surprise = surprise

    def fault(self, kind: str, reason: str) -> None:
        """Count a frame that could not be used; `kind` is "malformed" or "failed"."""
        with self.lock:
            setattr(self, kind, getattr(self, kind) + 1)
            self.last_fault = reason

    def silence(self) -> float:
        """Return the seconds since the last frame, or since the start."""
        with self.lock:
            return time.monotonic() - (self.arrivals[-1] if self.arrivals else self.started)

    def values(self) -> dict[str, Any]:
        """Return the figures under the names that diagnostics show."""
        with self.lock:
            a = list(self.arrivals)
            rate = (len(a) - 1) / (a[-1] - a[0]) if len(a) > 1 and a[-1] > a[0] else 0.0
            if a and time.monotonic() - a[-1] > 2:
                rate = 0.0
            mean = {f"{k} (ms)": f"{1e3 * sum(s[k] for s in self.stages) / max(len(self.stages), 1):.1f}"
                    for k in STAGES}
            before, self.worked = self.worked, (time.monotonic(), time.process_time())
            share = (self.worked[1] - before[1]) / max(self.worked[0] - before[0], 1e-3)
            return {"input rate (Hz)": f"{rate:.1f}", **mean,
                    "CPU (% of a core)": f"{100 * share:.0f}", "frames": self.received,
                    "dropped frames": self.dropped, "frames too old": self.too_old,
                    "malformed images": self.malformed, "failed frames": self.failed,
                    "last fault": self.last_fault,
                    "surprise": f"{self.surprise:.5f}"}


def status(name: str, health: Health, facts: dict[str, Any], active: bool, timeout: float,
           topic: str, publishers: list[str]) -> DiagnosticStatus:
    """Return the node's state for /diagnostics.

    Parameters
    ----------
    facts
        More key-values: device, learning, targets.
    timeout
        Seconds of silence from which it is a warning.
    topic, publishers
        The resolved input topic and its publishers' quality of service, for that warning.
    """
    level, message = DiagnosticStatus.OK, "tracking"
    silence = health.silence()
    if not active:
        message = "not active"
    elif silence > timeout:
        level = DiagnosticStatus.WARN
        offered = "; ".join(publishers) or "nobody publishes it"
        message = f"no frame for {silence:.1f} s on {topic} ({offered})"
    elif health.last_fault and (health.malformed + health.failed) * 2 > health.received:
        level, message = DiagnosticStatus.ERROR, f"most frames are unusable: {health.last_fault}"
    return entry(level, name, message, health.values() | facts)


def name_of(node: Any, part: str) -> str:
    """Return the name of one of a node's entries; /diagnostics is one topic for all namespaces."""
    return f"{node.get_fully_qualified_name()[1:]}: {part}"


def entry(level: bytes, name: str, message: str, values: dict[str, Any]) -> DiagnosticStatus:
    """Return one status for /diagnostics."""
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id="",
                            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()])
