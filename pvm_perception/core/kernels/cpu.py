"""The CPU's compiled part, `cpu.cpp`, on one core: the engine's device, and the work of learning."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pvm_perception.core.backend import cache_aligned
from pvm_perception.core.kernels.packing import Packing
from pvm_perception.core.kernels.plan import Launch
from pvm_perception.errors import PvmError

BUILDS = ("avx512vnni", "avx512", "avxvnni", "avx2", "any")  # of cpu.cpp, the fastest first; as in setup.py
KERNELS = ("input", "layer", "project", "answer", "decode")  # their numbers in cpu.cpp


class _Call(ctypes.Structure):
    """One launch, as in cpu.cpp."""

    _fields_ = (
        ("kernel", ctypes.c_int),
        ("streams", ctypes.c_int),
        ("frame", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
    )


class _GatherInput(ctypes.Structure):
    """Which rows of a source units read, as in cpu.cpp."""

    _fields_ = (
        ("source", ctypes.c_void_p),
        ("index", ctypes.c_void_p),
        ("streams", ctypes.c_int),
        ("units", ctypes.c_int),
        ("fan_in", ctypes.c_int),
        ("rows", ctypes.c_int),
        ("width", ctypes.c_int),
        ("first", ctypes.c_int),
    )

    @staticmethod
    def of(source: np.ndarray, index: np.ndarray | None, units: int, first: int = 0) -> _GatherInput:
        """Describe what `units` read of a source (B, rows, width), through an index (U, K) int64 or all."""
        where, fan_in = (None, 1) if index is None else (index.ctypes.data, index.shape[1])
        return _GatherInput(source.ctypes.data, where, len(source), units, fan_in, *source.shape[1:], first)


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
                where, number, count, value = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_float
                library.squared_difference.restype = ctypes.c_double
                library.squared_difference.argtypes = (where, where, count)
                library.normalise_activate.argtypes = (where, where, where, count, number, value, value)
                library.normalise_activate_backward.argtypes = (
                    where,
                    count,
                    where,
                    where,
                    where,
                    number,
                    number,
                    number,
                    value,
                )
                library.gather_matmul.argtypes = (where, number, where, number, number, where, number)
                library.gather_outer.argtypes = (where, where, number, where)
                library.matmul_scatter.argtypes = (where, where, where, number, where)
                return name, library
    raise PvmError(
        "the CPU kernels were not compiled, NumPy does their work, slower; to have them, install "
        "a C++ compiler (apt install g++) and the package again"
    )


@cache
def products() -> Products | None:
    """Return the compiled products of learning; None where they were not compiled."""
    try:
        return Products(compiled()[1])
    except PvmError:
        return None


class Products:
    """Products and codes of `algebra` on NumPy arrays: float32, without gaps."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    @staticmethod
    def take(*arrays: Any) -> bool:
        """Return whether all are arrays of a kind that is read and written here."""
        return all(type(a) is np.ndarray and a.dtype == np.float32 and a.flags.c_contiguous for a in arrays)

    def gather_matmul(
        self,
        out: np.ndarray,
        parts: Sequence[tuple[np.ndarray, np.ndarray | None, slice]],
        w: np.ndarray,
        adds: bool,
    ) -> None:
        """See `algebra.gather_matmul`."""
        of = (_GatherInput * len(parts))(
            *(_GatherInput.of(source, index, out.shape[1], rows.start) for source, index, rows in parts)
        )
        self._library.gather_matmul(of, len(of), w.ctypes.data, *w.shape, out.ctypes.data, adds)

    def gather_outer(
        self, out: np.ndarray, source: np.ndarray, index: np.ndarray | None, dz: np.ndarray
    ) -> None:
        """See `algebra.gather_outer`."""
        of = _GatherInput.of(source, index, dz.shape[1])
        self._library.gather_outer(ctypes.byref(of), dz.ctypes.data, dz.shape[2], out.ctypes.data)

    def matmul_scatter(self, out: np.ndarray, dz: np.ndarray, w: np.ndarray, index: np.ndarray) -> None:
        """See `algebra.matmul_scatter`."""
        of = _GatherInput.of(out, index, dz.shape[1])
        self._library.matmul_scatter(
            ctypes.byref(of), dz.ctypes.data, w.ctypes.data, dz.shape[2], out.ctypes.data
        )

    def normalise_activate(
        self, z: np.ndarray, sizes: np.ndarray, h: np.ndarray, norm_floor: float, leak: float
    ) -> None:
        """Do what `activations.normalise_activate` does, for a leaky rectifier.

        Parameters
        ----------
        z, sizes, h
            As there.
        norm_floor
            What is added to the mean square of a unit's sums.
        leak
            Slope of the rectifier below zero.
        """
        self._library.normalise_activate(
            z.ctypes.data, sizes.ctypes.data, h.ctypes.data, sizes.size, z.shape[2], norm_floor, leak
        )

    def normalise_activate_backward(
        self, d: np.ndarray, z: np.ndarray, sizes: np.ndarray, out: np.ndarray, leak: float
    ) -> None:
        """Do what `activations.normalise_activate_backward` does, for a leaky rectifier.

        Parameters
        ----------
        d, z, sizes, out
            As there; between the streams of `d` there may be gaps.
        leak
            Slope of the rectifier below zero.
        """
        self._library.normalise_activate_backward(
            d.ctypes.data,
            d.strides[0] // d.itemsize,
            z.ctypes.data,
            sizes.ctypes.data,
            out.ctypes.data,
            *z.shape,
            leak,
        )


class CpuRunner:
    """Runs the engine's launches one after the other, each in one call for all.

    Raises
    ------
    PvmError
        If the kernels were not compiled.
    """

    multiprocessors = 1
    shares = True
    xp = np

    def __init__(self) -> None:
        build, self._library = compiled()
        self.packing = Packing(self._library.lanes(), bool(self._library.reads_pairs()))
        self.name = f"cpu kernels ({build})"

    def host(self, size: int) -> np.ndarray:
        """Return memory (size,) uint8, zeros."""
        return np.zeros(size, np.uint8)

    def put(self, array: np.ndarray) -> np.ndarray:
        """Return a copy of an array that begins with a cache line."""
        return cache_aligned(array)

    def address(self, array: np.ndarray) -> int:
        """Return where an array lies."""
        return array.ctypes.data

    def write(self, array: np.ndarray, values: np.ndarray) -> None:
        """See `Runner.write`."""
        array[...] = values

    def read(self, array: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """See `Runner.read`."""
        if out is None:
            return array.copy()
        out[...] = array
        return out

    def squared_difference(self, a: np.ndarray, b: np.ndarray) -> float:
        """See `Runner.squared_difference`."""
        return self._library.squared_difference(a.ctypes.data, b.ctypes.data, a.size)

    def load(self, launches: list[tuple[Launch, tuple[int, int]]]) -> Callable[[], None]:
        """Return what runs the launches in order."""
        calls = (_Call * len(launches))(
            *(
                _Call(KERNELS.index(launch.kernel.split("_")[0]), launch.grid[1], *addresses)
                for launch, addresses in launches
            )
        )
        run, count = self._library.run, len(calls)
        return lambda: run(calls, count)
