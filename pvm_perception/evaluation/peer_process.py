"""A peer in a process of its own, with its own packages: two OpenCVs do not fit in one process."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import weakref
from pathlib import Path

import cv2
import numpy as np

from pvm_perception.errors import PvmError
from pvm_perception.processes import piped

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "peers"  # what `make peers` installs
WORKER = ROOT / "scripts" / "peer_worker.py"
HOW = "`make peers` installs them in build/peers"


def python_with_contrib() -> Path | None:
    """Return an interpreter whose OpenCV has the contrib trackers, None where there is none."""
    if _installed().is_file():
        return _installed()
    return Path(sys.executable) if hasattr(cv2, "TrackerCSRT_create") and WORKER.is_file() else None


def python_with_coco() -> Path | None:
    """Return an interpreter that can run the COCO detectors, None where there is none."""
    both = all((FOLDER / f"{n}.onnx").is_file() for n in ("nanodet", "centernet"))
    return _installed() if both and _installed().is_file() else None


def _installed() -> Path:
    return FOLDER / "venv" / "bin" / "python"


class PeerProcess:
    """Images there, boxes back; ends with this object.

    Each way a line of JSON; after the one there, the image's bytes. See `scripts/peer_worker.py`.

    Parameters
    ----------
    python
        The interpreter to run it with; None raises.
    name
        The peer, as the worker names it.

    Raises
    ------
    PvmError
        If the peer is not installed; from `ask`, if it broke, with its last words.
    """

    def __init__(self, python: Path | None, name: str) -> None:
        if python is None:
            raise PvmError(f"{name} is not installed; {HOW}")
        self.name = name
        self._process = subprocess.Popen(
            [str(python), str(WORKER), name, str(FOLDER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._end = weakref.finalize(self, _end, self._process)

    def ask(
        self, image: np.ndarray, box: tuple[int, int, int, int] | None = None
    ) -> tuple[list[list], float]:
        """Let the peer look at an image.

        Parameters
        ----------
        image
            (H, W, 3) uint8 BGR.
        box
            x, y, w, h of the target, px, where a tracker is to start; None from then on, and for a detector.

        Raises
        ------
        PvmError
            If the process has ended.
        """
        head = json.dumps({"shape": image.shape, "box": box}).encode() + b"\n"
        try:
            requests = piped(self._process.stdin)
            requests.write(head + np.ascontiguousarray(image).tobytes())
            requests.flush()
            line = piped(self._process.stdout).readline()
        except OSError:
            line = b""
        if not line:
            words = piped(self._process.stderr).read().decode(errors="replace").strip().splitlines()
            raise PvmError(f"{self.name} broke: {words[-1] if words else 'no word of why'}")
        answer = json.loads(line)
        return answer["boxes"], answer["milliseconds"]


def _end(process: subprocess.Popen) -> None:
    """Close the worker's input, which ends it, and wait."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(OSError):
            piped(pipe).close()
    process.wait()
