"""What a device can do at best, and what a process costs it: the rods that `bench` measures with."""

from __future__ import annotations

import gc
import math
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from pvm_perception.processes import piped

CAMERA = (480, 640)  # rows and columns of the images that trackers are shown
QUEUED = 50  # actions given to a GPU at once, where its best is measured
FIRST_ANSWER = """
import sys
import numpy as np
from pvm_perception import Tracker
_, model, device, learn, fovea, rows, cols, frames = sys.argv
tracker = Tracker(model=model, device=device, learn=learn == "True", fovea=fovea == "True")
image = np.zeros((int(rows), int(cols), 3), np.uint8)
tracker.update(image)
print("answered", flush=True)
for _ in range(int(frames)):
    tracker.update(image)
for line in open("/proc/self/status"):
    if line.startswith("VmHWM:"):
        print(line.split()[1])
"""

Row = dict[str, Any]


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Let this thread, OpenCV and the processes that they start use so many cores within `with`.

    Parameters
    ----------
    count
        At most as many as the process may use: see `core.meanwhile.cores`.
    """
    allowed, threads = os.sched_getaffinity(0), cv2.getNumThreads()
    os.sched_setaffinity(0, sorted(allowed)[:count])
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        cv2.setNumThreads(threads)


class Machine:
    """What one device can do at best, now."""

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp
        self._from = xp.ones(1 << 24, np.float32)  # 64 MiB, beyond any cache
        self._to = xp.empty_like(self._from)

    def wait(self) -> None:
        """Return when all that was asked of the device is done."""
        if self.xp is not np:
            self.xp.cuda.get_current_stream().synchronize()

    def clock(self) -> float:
        """Return seconds: the processor's own time on the CPU, so that other work does not count."""
        return time.process_time() if self.xp is np else time.perf_counter()

    def _best(self, action: Callable[[], object], rounds: int) -> float:
        """Return the shortest time that the device worked on an action, seconds.

        A GPU is asked many times before it is waited for: asking for one small product takes longer
        than the product.
        """
        times, asked = [], 1 if self.xp is np else QUEUED
        for _ in range(rounds):
            begin = self.clock()
            for _ in range(asked):
                action()
            self.wait()
            times.append((self.clock() - begin) / asked)
        return min(times)

    def flops(self, shape: tuple[int, int, int]) -> float:
        """Return the throughput of a (rows, D) (D, N) float32 product, FLOP/s."""
        rows, d, n = shape
        a, b = self.xp.ones((rows, d), np.float32), self.xp.ones((d, n), np.float32)
        out = self.xp.empty((rows, n), np.float32)
        return 2.0 * math.prod(shape) / self._best(lambda: self.xp.matmul(a, b, out=out), 20)

    def bytes_per_second(self) -> float:
        """Return the throughput of a copy, bytes read and written."""

        def copy() -> None:
            self._to[...] = self._from

        return 2.0 * self._from.nbytes / self._best(copy, 5)


def allocations(step: Callable[[int], object], frames: int) -> Row:
    """Return what the steady state allocates on the host, kB.

    `temporary_kb`: the most that was in use above the level between frames; `retained_kb`: by how
    much that level grew over all frames.

    Parameters
    ----------
    step
        Runs a frame, given its number.
    frames
        How many are measured, after four that are not.
    """
    tracemalloc.start()
    try:
        for k in range(4):  # every buffer that a frame replaces was replaced once
            step(k)
        gc.collect()
        level = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for k in range(frames):
            step(k)
        peak = tracemalloc.get_traced_memory()[1]
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return {"temporary_kb": (peak - level) / 1e3, "retained_kb": (after - level) / 1e3}


def cold_start(model: Path, device: str, learn: bool, fovea: bool, starts: int, frames: int) -> Row:
    """Measure processes of their own, from starting Python.

    Parameters
    ----------
    model
        Model file.
    device
        "cpu", "cuda" or "auto".
    learn
        Whether the forecast learns from each frame.
    fovea
        Whether each frame is looked at a second time, through a window.
    starts
        How many processes are started, one after the other.
    frames
        How many frames each runs after its first.

    Returns
    -------
    Row
        `cold_start_s`: median time to the first answer, s; `peak_mb`: most memory in use by the last process,
        MB.
    """
    root = str(Path(__file__).resolve().parents[2])
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)}
    seconds = []
    for _ in range(starts):
        begin = time.perf_counter()
        with subprocess.Popen(
            [
                sys.executable,
                "-c",
                FIRST_ANSWER,
                str(model),
                device,
                str(learn),
                str(fovea),
                *map(str, (*CAMERA, frames)),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        ) as process:
            out = piped(process.stdout)
            out.readline()
            seconds.append(time.perf_counter() - begin)
            kilobytes = out.read()
    return {"cold_start_s": statistics.median(seconds), "peak_mb": int(kilobytes) / 1e3}
