"""pvm_perception: a future-encoder hierarchy that tracks a green ball or a stop sign."""

import importlib
import os
from typing import Any

# Before NumPy loads its BLAS: products of this size lose by a second thread, and on a small robot
# the other cores have work of their own. Set the variable yourself to have it otherwise.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_MODULES = {
    "Tracker": "api",
    "PvmError": "errors",
    "TARGETS": "types",
    "Box": "types",
    "Detection": "types",
    "Frame": "types",
    "Track": "types",
}

__all__ = ["TARGETS", "Box", "Detection", "Frame", "PvmError", "Track", "Tracker"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is asked for, so that the command line starts at once and knows signals from then on."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
