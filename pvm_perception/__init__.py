"""pvm_perception: a future-encoder hierarchy that tracks a green ball or a stop sign."""

import os

# Before NumPy loads its BLAS: products of this size lose by a second thread, and on a small robot
# the other cores have work of their own. Set the variable yourself to have it otherwise.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from pvm_perception.api import Tracker
from pvm_perception.errors import PvmError
from pvm_perception.types import TARGETS, Box, Detection, Frame, Track

__all__ = ["TARGETS", "Box", "Detection", "Frame", "PvmError", "Track", "Tracker"]
__version__ = "0.1.0"
