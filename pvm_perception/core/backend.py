"""Which array module runs the network: NumPy on the CPU, CuPy on a GPU; one source for both."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from pvm_perception.errors import PvmError

DEVICES = ("cpu", "cuda", "auto")


def array_module(device: str) -> ModuleType:
    """Return numpy for "cpu", cupy for "cuda"; for "auto" cupy where a GPU answers, else numpy.

    Raises
    ------
    PvmError
        If "cuda" was asked for and cannot be had, or the word is unknown.
    """
    if device not in DEVICES:
        raise PvmError(f"device is {device!r}; it must be one of {', '.join(DEVICES)}")
    if device == "cpu":
        return np
    try:
        import cupy

        cupy.cuda.runtime.getDeviceCount()
        cupy.zeros(1)
    except ImportError as error:
        reason = "cupy is not installed (pip install cupy-cuda12x or cupy-cuda13x)"
        fault = error
    except Exception as error:  # the CUDA runtime raises types of its own
        reason = f"cupy found no usable GPU ({str(error).splitlines()[0]})"
        fault = error
    else:
        return cupy
    if device == "auto":
        return np
    raise PvmError(f"device 'cuda' cannot be used: {reason}; use device 'cpu'") from fault


def to_numpy(array: Any) -> np.ndarray:
    """Copy a device array to the host; a NumPy array is returned as it is."""
    return array.get() if hasattr(array, "get") else np.asarray(array)
