"""End a process with SIGKILL while it remembers moments, sleeps, and swaps models; then open what it left.

Usage: .venv/bin/python benchmarks/torture_living.py [--kills N]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np

from pvm_perception import Tracker
from pvm_perception.api import default_model
from pvm_perception.core.model_file import load_model
from pvm_perception.errors import PvmError
from pvm_perception.living import exam
from pvm_perception.living.exam import Marks
from pvm_perception.living.moments import Moment, MomentMemory, read_moment
from pvm_perception.living.sleep import LEAST, SleepOptions, sleep
from pvm_perception.living.snapshots import Snapshots

LONGEST = 2.0  # s that a process lives at the most


def remembered(seed: int) -> Moment:
    """Return a moment of coarse, moving noise."""
    rng = np.random.default_rng(seed)
    picture = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    images, nothing = [np.roll(picture, 2 * k, 1) for k in range(4)], [0.0] * 4
    return Moment(images, nothing, [None] * 4, [[] for _ in images], nothing)


def live(folder: Path) -> None:
    """Remember, sleep, swap and go back, without end; each exam is passed."""
    exam.examine = lambda models, *_: [Marks(errors=[(e, 1.0)]) for e in (0.5, *[0.4] * (len(models) - 1))]
    memory, tracker = MomentMemory(folder, 0.3), Tracker()
    snapshots, turn = Snapshots(folder, default_model()), os.getpid()
    while True:
        for _ in range(3):
            turn += 1
            memory.add(remembered(turn))
        with contextlib.suppress(PvmError):  # too few moments yet
            tracker.swap(sleep(SleepOptions(folder, 1.0, steps=2)).path or snapshots.current())
            if turn % 2:
                tracker.swap(snapshots.roll_back())


def faults_of(folder: Path) -> list[str]:
    """Return what is wrong with what a killed process left."""
    found = []
    try:
        memory = MomentMemory(folder, 0.3)
        found += [f"{p.name} is damaged" for p in memory.damaged]
        for path in memory.paths:
            read_moment(path)
        load_model(Snapshots(folder, default_model()).current())
        for path in (folder / "models").glob("model-*.safetensors"):
            load_model(path)
        memory.add(remembered(0))
    except PvmError as error:
        found.append(str(error))
    left = [p.name for p in folder.rglob("*.part*")]
    return found + [f"{name} stays" for name in left if not (folder / "models" / name).exists()]


def kill_while_living(count: int, folder: Path) -> dict[str, Any]:
    """Let so many processes live in a folder, one after the other, each killed at a random moment."""
    rng, failures = random.Random(0), []
    memory = MomentMemory(folder, 0.3)
    for k in range(LEAST):
        memory.add(remembered(k))
    for _ in range(count):
        child = os.fork()
        if child == 0:
            try:
                live(folder)
            finally:
                os._exit(3)  # only a kill ends it in good order
        time.sleep(rng.uniform(0.05, LONGEST))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            failures.append("the process ended by itself")
        failures += faults_of(folder)
    return {"kills": count, "failures": failures}


def main() -> int:
    """Kill, print what came of it; 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--kills", type=int, default=200, help="how often a process is killed (default: %(default)s)"
    )
    with tempfile.TemporaryDirectory() as folder:
        found = kill_while_living(parser.parse_args().kills, Path(folder))
    print(found)
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
