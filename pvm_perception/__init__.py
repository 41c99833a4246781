"""pvm_perception: a future-encoder hierarchy that tracks a green ball or a stop sign."""

from pvm_perception.api import Tracker
from pvm_perception.errors import PvmError
from pvm_perception.types import TARGETS, Box, Detection, Frame, Track

__all__ = ["TARGETS", "Box", "Detection", "Frame", "PvmError", "Track", "Tracker"]
__version__ = "0.1.0"
