"""The tracker node's memory and sleep: moments are kept while it works; a child process learns from them.

The child runs at low priority on a copy of the model; the node goes on with the old one meanwhile, and takes
the new one between two frames if it passed its exam.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from pvm_perception.core.model_file import save_model
from pvm_perception.errors import PvmError
from pvm_perception.living.moments import MomentMemory
from pvm_perception.living.recorder import Recorder
from pvm_perception.living.sleep import LEAST, OUTCOME
from pvm_perception.living.snapshots import Snapshots
from pvm_perception.shipped import default_model
from pvm_perception.types import Track

if TYPE_CHECKING:
    from pvm_perception.ros.tracker_node import TrackerNode

COMMAND = [sys.executable, "-m", "pvm_perception", "sleep"]  # of the child, without its arguments
AWAKE = "awake.safetensors"  # the model that a sleep begins with, as it is in the node
NICE = 10  # how much the child gives way to others
IDLE = 600.0  # s without anything new after which a robot counts as idle
PATIENCE = 5.0  # s that the end of the node waits for the child
NO_MEMORY = "no moments are kept; set the parameter `memory` to a folder and start the node anew"


class Sleeper:
    """Keeps a tracker node's moments, and lets it learn from them asleep.

    Parameters
    ----------
    node
        Whose stream is remembered, and whose model changes.
    """

    def __init__(self, node: TrackerNode) -> None:
        self._node = node
        self._recorder: Recorder | None = None
        self._snapshots: Snapshots | None = None
        self._child: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._lines: list[str] = []
        self._said = 0  # lines of the child that are in the log
        self._slept_with = 0  # moments that the last sleep found
        self.state = "awake"
        self._slow = ReentrantCallbackGroup()

    def model(self) -> Path | None:
        """Return the model to begin with: the newest that sleeps made; None for the one that ships."""
        folder, given = self._node.value("memory"), self._node.value("model")
        if not folder:
            self._snapshots = None
            return Path(given) if given else None
        place = Path(folder).expanduser()
        self._snapshots = Snapshots(place, Path(given) if given else default_model())
        return self._snapshots.current()

    def open(self) -> None:
        """Open the memory, where one is asked for."""
        if self._snapshots is not None:
            memory = MomentMemory(self._snapshots.folder.parent, self._node.value("memory_size"))
            self._recorder = Recorder(memory, lambda line: self._node.faults.note("memory", line, "warning"))

    def offer(self) -> list[Any]:
        """Create the services and return them, to be destroyed by the node."""
        return [
            self._node.create_service(Trigger, f"~/{name}", answer, callback_group=group)
            for name, answer, group in (
                ("sleep", self._sleep, self._slow),
                ("wake", self._wake, None),
                ("rollback", self._roll_back, None),
            )
        ]

    def see(
        self,
        image: np.ndarray,
        stamp: float | None,
        motion: np.ndarray | None,
        tracks: Sequence[Track],
        surprise: float,
    ) -> None:
        """Take a frame for the memory; arguments as for `Recorder.see`.

        Parameters
        ----------
        image
            (H, W, 3) uint8, BGR.
        stamp
            Seconds; None where it has none.
        motion
            (4,) as `Tracker.update` takes it, or None.
        tracks
            What was found in it.
        surprise
            Mean over the units.
        """
        if self._recorder is not None:
            self._recorder.see(image, stamp, motion, tracks, surprise)

    def pictures(self) -> list[np.ndarray]:
        """Return some remembered pictures, (H, W, 3) uint8 BGR each; none where nothing is remembered."""
        return self._recorder.memory.pictures() if self._recorder is not None else []

    def facts(self) -> dict[str, Any]:
        """Return what diagnostics say of memory and sleep."""
        if self._recorder is None:
            return {"memory": "none is kept", "sleep": self.state}
        memory = self._recorder.memory
        return {
            "memory": f"{len(memory)} moments, {memory.megabytes:.1f} MB",
            "moments dropped": self._recorder.dropped,
            "sleep": self.state,
        }

    # --- services

    async def _sleep(self, _request: Any, response: Any) -> Any:
        """Begin a sleep; the answer comes when the child runs."""
        response.message = await self._begin()
        response.success = True
        return response

    async def _begin(self) -> str:
        if self._snapshots is None:
            raise PvmError(NO_MEMORY)
        if self._recorder is None:
            raise PvmError("the node is not active")
        if self._child is not None:
            raise PvmError(f"it sleeps already: {self.state}")
        moments = len(self._recorder.memory)
        if moments < LEAST:
            raise PvmError(f"the memory has {moments} moments; a sleep needs {LEAST} at least")
        start = self._snapshots.folder / AWAKE
        with self._node.frame_done():
            model = self._node.tracker.snapshot()
        await self._node.requests.saver.save(start, model)
        if self._child is None:
            self._start(start, moments)
        return f"asleep on {moments} moments for {self._node.value('sleep_minutes'):g} minutes and an exam"

    def _start(self, start: Path, moments: int) -> None:
        """Start the child."""
        if self._recorder is None or self._snapshots is None:
            raise PvmError(NO_MEMORY)
        command = [*COMMAND, "--memory", str(self._recorder.memory.folder)]
        command += ["--minutes", str(self._node.value("sleep_minutes"))]
        command += ["--model", str(start), "--base", str(self._snapshots.base)]
        self._lines, self._said, self._slept_with = [], 0, moments
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # a signal from the terminal is for the node
        )
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._child.pid, NICE)
        self._reader = threading.Thread(target=self._read, args=(self._child,), name="sleep", daemon=True)
        self._reader.start()
        self.state = "falling asleep"

    def _read(self, child: subprocess.Popen[str]) -> None:
        if child.stdout is not None:
            with child.stdout as lines:
                for line in lines:
                    self._lines.append(line.strip())

    def _wake(self, _request: Any, response: Any) -> Any:
        if self._child is None:
            raise PvmError("it is awake")
        self._child.send_signal(signal.SIGTERM)
        response.success = True
        response.message = "waking: what was learnt so far takes the exam, and is kept only if it passes"
        return response

    def _roll_back(self, _request: Any, response: Any) -> Any:
        if self._snapshots is None:
            raise PvmError(NO_MEMORY)
        if self._child is not None:
            raise PvmError("it sleeps; wake it first")
        path = self._snapshots.roll_back()
        self._take(path)
        self.state = f"awake; back to {path.name}"
        response.success, response.message = True, f"back to {path}"
        return response

    def _take(self, path: Path) -> None:
        with self._node.frame_done():
            self._node.tracker.swap(path)
        self._node.announcer.announce(self._node.tracker, self._node.own_motion.size)

    # --- watch

    def look(self) -> None:
        """Follow the child; take its model when it is done; fall asleep where nothing is new."""
        child = self._child
        if child is None:
            self._perhaps_fall_asleep()
            return
        done = child.poll() is not None
        if done and self._reader is not None:
            self._reader.join(PATIENCE)
        for line in self._lines[self._said :]:
            self._said += 1
            if line.startswith("sleep:"):
                self.state = f"asleep: {line[6:].strip()}"
                self._node.get_logger().info(self.state)
        if done:
            self._child = None
            self._finish(child.returncode)

    def _finish(self, code: int) -> None:
        """Take the new model, or say why there is none."""
        outcome = next((n.removeprefix(OUTCOME) for n in self._lines if n.startswith(OUTCOME)), "")
        if code == 0 and outcome and self._snapshots is not None:
            self._take(self._snapshots.current())
            self.state = f"awake; {outcome}"
        elif code == 1 and outcome:
            self.state = f"awake; nothing changed: {outcome}"
        else:
            last = self._lines[-1] if self._lines else f"exit code {code}"
            self.state = f"awake; the sleep failed: {last}"
            self._node.faults.note("sleep", self.state, "warning")
            return
        self._node.get_logger().info(self.state)

    def _perhaps_fall_asleep(self) -> None:
        """Begin a sleep where nothing new was seen for long, and there are new moments to learn from."""
        recorder = self._recorder
        if recorder is None or not self._node.value("sleep_when_idle") or self._snapshots is None:
            return
        moments = len(recorder.memory)
        if time.monotonic() - recorder.last_new < IDLE or moments < max(LEAST, self._slept_with + LEAST):
            return
        start = self._snapshots.folder / AWAKE
        with self._node.frame_done():
            model = self._node.tracker.snapshot()
        save_model(start, *model)  # a slow disk holds no frame
        self._start(start, moments)

    def close(self) -> None:
        """End the child, whose work is lost, and write the moments that wait."""
        if self._child is not None:
            self._child.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(PATIENCE)
            self._child, self.state = None, "awake"
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None
