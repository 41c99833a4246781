"""The array module that runs the network, NumPy on the CPU or CuPy on a GPU, and its types."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pvm_perception.errors import PvmError

# an array of the backend: NumPy's, or CuPy's, which offers the same interface
Array: TypeAlias = npt.NDArray[Any]
# arrays on the host
Floats: TypeAlias = npt.NDArray[np.float32]  # of any shape
Rectangles: TypeAlias = npt.NDArray[np.int32]  # (..., 4) top, left, rows, cols; px
Images: TypeAlias = npt.NDArray[np.uint8]  # (..., H, W, 3), BGR
Mask: TypeAlias = npt.NDArray[np.bool_]  # (B,), one for each stream
Index: TypeAlias = npt.NDArray[np.int64]  # of source units, see `wiring`
DEVICES = ("cpu", "cuda", "auto")
LINE = 64  # bytes of a cache line


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
    cupy, reason = find_gpu()
    if cupy is None and device == "cuda":
        raise PvmError(f"device 'cuda' cannot be used: {reason}; use device 'cpu'")
    return cupy or np


def find_gpu() -> tuple[ModuleType | None, str]:
    """Return cupy where a GPU answers, else None and why not."""
    try:
        import cupy

        cupy.cuda.runtime.getDeviceCount()
        cupy.zeros(1)
    except ImportError:
        return None, "cupy is not installed (pip install cupy-cuda12x or cupy-cuda13x)"
    except Exception as error:  # the CUDA runtime raises types of its own
        return None, f"cupy found no usable GPU ({str(error).splitlines()[0]})"
    return cupy, ""


def device_name(xp: ModuleType) -> str:
    """Return the name of the GPU behind cupy, or the kind of processor behind numpy."""
    if xp is np:
        return platform.processor() or platform.machine()
    runtime = xp.cuda.runtime
    return runtime.getDeviceProperties(runtime.getDevice())["name"].decode()


def to_numpy(array: Any) -> np.ndarray:
    """Copy a device array to the host; a NumPy array is returned as it is."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def cache_aligned(array: np.ndarray) -> np.ndarray:
    """Return a copy of a host array that begins at a cache line.

    Compiled code reads whole lines: the products are faster where a vector does not lie across two.
    """
    memory = np.zeros(array.nbytes + LINE, np.uint8)
    begin = -memory.ctypes.data % LINE
    copy = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def own_copy(weight: Array, xp: ModuleType) -> Array:
    """Return a float32 copy of a weight on the device; on the host it begins at a cache line.

    Parameters
    ----------
    weight
        An array of any shape, on the host.
    xp
        Array module of the device.
    """
    return cache_aligned(np.asarray(weight, np.float32)) if xp is np else xp.array(weight, np.float32)


class OneThread:
    """Run NumPy's products on one thread within `with`; outside it the process keeps its own number.

    A second thread costs more than it brings on products of this size, and where another process
    wants the core it costs tens of times more: the threads wait for each other in a loop.
    Without threadpoolctl nothing changes (then set OPENBLAS_NUM_THREADS=1 yourself).
    """

    def __init__(self) -> None:
        self._limit: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
        try:
            from threadpoolctl import ThreadpoolController
        except ImportError:
            return
        blas = ThreadpoolController().select(user_api="blas")
        if any(pool["num_threads"] > 1 for pool in blas.info()):
            self._limit = lambda: blas.limit(limits=1)

    def __enter__(self) -> None:
        self._now = self._limit()
        self._now.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._now.__exit__(kind, error, trace)
