"""The engine's device on a CPU: the kernels of `cpu.cpp`, on one core."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from pvm_perception.core.kernels.plan import Launch
from pvm_perception.errors import PvmError

BUILDS = ("avx512", "avx2", "any")  # of cpu.cpp, the fastest first; as in setup.py
KERNELS = ("input", "layer", "project", "answer", "decode")  # their numbers in cpu.cpp
LINE = 64  # bytes of a cache line


class _Call(ctypes.Structure):
    """One launch, as in cpu.cpp."""

    _fields_ = (("kernel", ctypes.c_int), ("streams", ctypes.c_int), ("frame", ctypes.c_void_p),
                ("table", ctypes.c_void_p))


@cache
def compiled(folder: Path = Path(__file__).parent) -> tuple[str, ctypes.CDLL]:
    """Return the best build of `cpu.cpp` that runs here, and its name.

    Raises
    ------
    PvmError
        If there is none: no compiler was there when the package was installed.
    """
    for name in BUILDS:
        for path in folder.glob(f"_cpu_{name}.*so"):
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue  # of another machine's kind
            if library.runs_here():
                library.apart.restype = ctypes.c_double
                library.apart.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long)
                return name, library
    raise PvmError("the CPU kernels were not compiled, NumPy does their work, slower; to have them, install "
                   "a C++ compiler (apt install g++) and the package again")


class CpuRunner:
    """Runs the engine's launches one after the other, each in one call for all.

    Raises
    ------
    PvmError
        If the kernels were not compiled.
    """

    multiprocessors = 1
    xp = np

    def __init__(self) -> None:
        build, self._library = compiled()
        self.name = f"cpu kernels ({build})"
        self._slack = self._library.slack()

    def host(self, size: int) -> np.ndarray:
        """Return memory (size,) uint8, zeros."""
        return np.zeros(size, np.uint8)

    def put(self, array: np.ndarray) -> np.ndarray:
        """Return a copy of an array on a cache line of its own, with room to read past its end."""
        room = np.zeros(array.nbytes + LINE + self._slack, np.uint8)
        begin = -room.ctypes.data % LINE
        copy = room[begin:begin + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy

    def address(self, array: np.ndarray) -> int:
        """Return where an array lies."""
        return array.ctypes.data

    def write(self, array: np.ndarray, values: np.ndarray) -> None:
        """Copy values over an array."""
        array[...] = values

    def read(self, array: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Copy an array; to new memory, or into `out`."""
        if out is None:
            return array.copy()
        out[...] = array
        return out

    def apart(self, a: np.ndarray, b: np.ndarray) -> float:
        """Return the sum of the squared differences of two arrays (n,) uint8."""
        return self._library.apart(a.ctypes.data, b.ctypes.data, a.size)

    def load(self, launches: list[tuple[Launch, tuple[int, int]]]) -> Callable[[], None]:
        """Return what runs the launches in order."""
        calls = (_Call * len(launches))(*(
            _Call(KERNELS.index(launch.kernel.split("_")[0]), launch.grid[1], *addresses)
            for launch, addresses in launches))
        run, count = self._library.run, len(calls)
        return lambda: run(calls, count)
