"""The compiled steps of a forecast, `forecast.cpp`: arrays of one stream in, arrays of one stream filled.

`core.forecast_reference.Steps` computes the same in NumPy: it is the oracle of this module, and does the work
where nothing was compiled.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np

from pvm_perception.core import forecast_reference
from pvm_perception.core.forecast_reference import Geometry
from pvm_perception.core.kernels.cpu import compiled
from pvm_perception.errors import PvmError

GRID = ("rows", "cols", "height", "width", "margin", "pitch", "lines", "moves", "stride", "shared", "alike")


class _Grid(ctypes.Structure):
    """A scale's geometry, as in forecast.cpp."""

    _fields_ = tuple((name, ctypes.c_int) for name in GRID)


@cache
def _grid(geometry: Geometry) -> _Grid:
    return _Grid(*(getattr(geometry, name) for name in GRID))


class Steps:
    """The compiled steps for one scale; methods as those of `forecast_reference.Steps`."""

    def __init__(self, geometry: Geometry, library: ctypes.CDLL) -> None:
        self._library = library
        self._own = ctypes.byref(_grid(geometry))

    def picture(self, image: np.ndarray, planes: np.ndarray) -> None:
        """As the reference's."""
        self._library.forecast_picture(self._own, _at(image), _at(planes))

    def halve(self, fine: Geometry, source: np.ndarray, planes: np.ndarray) -> None:
        """As the reference's."""
        self._library.forecast_halve(ctypes.byref(_grid(fine)), _at(source), self._own, _at(planes))

    def fill(self, shown: np.ndarray, planes: np.ndarray) -> None:
        """As the reference's."""
        self._library.forecast_fill(self._own, _at(shown), _at(planes))

    def moves(
        self,
        parent: np.ndarray | None,
        last: np.ndarray,
        inherited: np.ndarray,
        kept: np.ndarray,
        limit: int,
        moves: np.ndarray,
    ) -> None:
        """As the reference's."""
        above = None if parent is None else _at(parent)
        self._library.forecast_moves(
            self._own, above, _at(last), _at(inherited), _at(kept), ctypes.c_int(limit), _at(moves)
        )

    def evidence(
        self, now: np.ndarray, before: np.ndarray, moves: np.ndarray, block: np.ndarray, window: np.ndarray
    ) -> None:
        """As the reference's."""
        self._library.forecast_evidence(self._own, _at(now), _at(before), _at(moves), _at(block), _at(window))

    def weigh(
        self,
        block: np.ndarray,
        window: np.ndarray,
        moves: np.ndarray,
        evidence: np.ndarray,
        inputs: np.ndarray,
    ) -> None:
        """As the reference's."""
        self._library.forecast_weigh(
            self._own,
            _at(block),
            _at(window),
            _at(moves),
            _at(evidence),
            _at(inputs),
            ctypes.c_int(inputs.shape[1]),
        )

    def neighbours(self, codes: np.ndarray, inputs: np.ndarray, first: int) -> None:
        """As the reference's."""
        self._library.forecast_neighbours(
            self._own,
            _at(codes),
            ctypes.c_int(codes.shape[1]),
            ctypes.c_void_p(inputs.ctypes.data + inputs.itemsize * first),
            ctypes.c_int(inputs.shape[1]),
        )

    def choose(
        self,
        evidence: np.ndarray,
        gates: np.ndarray,
        moves: np.ndarray,
        parent: np.ndarray,
        motion: np.ndarray,
        moved: bool,
        last: np.ndarray | None,
        habit: np.ndarray,
        choice: np.ndarray,
        mean: np.ndarray,
        likeliest: np.ndarray,
    ) -> None:
        """As the reference's."""
        self._library.forecast_choose(
            self._own,
            _at(evidence),
            _at(gates),
            ctypes.c_int(gates.shape[1]),
            _at(moves),
            _at(parent),
            _at(motion),
            ctypes.c_int(moved),
            None if last is None else _at(last),
            _at(habit),
            _at(choice),
            _at(mean),
            _at(likeliest),
        )

    def mix(self, choice: np.ndarray, moves: np.ndarray, now: np.ndarray, out: np.ndarray) -> None:
        """As the reference's."""
        self._library.forecast_mix(self._own, _at(choice), _at(moves), _at(now), _at(out))

    def errors(
        self,
        shown: np.ndarray,
        now: np.ndarray,
        before: np.ndarray,
        forecast: np.ndarray,
        error: np.ndarray,
        wrong: np.ndarray,
        changed: np.ndarray,
    ) -> None:
        """As the reference's."""
        self._library.forecast_errors(
            self._own, _at(shown), _at(now), _at(before), _at(forecast), _at(error), _at(wrong), _at(changed)
        )

    def gradient(
        self,
        error: np.ndarray,
        planes: np.ndarray,
        choice: np.ndarray,
        evidence: np.ndarray,
        moves: np.ndarray,
        parent: np.ndarray,
        motion: np.ndarray,
        moved: bool,
        habit: np.ndarray,
        weight: float,
        gates: np.ndarray,
    ) -> None:
        """As the reference's."""
        self._library.forecast_gradient(
            self._own,
            _at(error),
            _at(planes),
            _at(choice),
            _at(evidence),
            _at(moves),
            _at(parent),
            _at(motion),
            ctypes.c_int(moved),
            _at(habit),
            ctypes.c_float(weight),
            _at(gates),
            ctypes.c_int(gates.shape[1]),
        )


@cache
def _library() -> ctypes.CDLL | None:
    try:
        return compiled()[1]
    except PvmError:
        return None


def steps(geometry: Geometry) -> Steps | forecast_reference.Steps:
    """Return what computes the steps of a forecast for one scale: compiled, else in NumPy."""
    library = _library()
    return forecast_reference.Steps(geometry) if library is None else Steps(geometry, library)


def _at(array: np.ndarray) -> ctypes.c_void_p:
    """Return the address of an array without gaps."""
    if not array.flags.c_contiguous:
        raise PvmError("an array with gaps reached the compiled forecast; it takes whole arrays")
    return ctypes.c_void_p(array.ctypes.data)
