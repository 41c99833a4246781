"""The compiled steps of a forecast, `forecast.h` and what follows it, on frames whose addresses are kept.

`core.forecast_reference` computes the same in NumPy: it is the oracle of this module, and does the work where
nothing was compiled.
"""

from __future__ import annotations

import ctypes
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np

from pvm_perception.core import forecast_frame as frames
from pvm_perception.core.forecast_frame import Geometry
from pvm_perception.core.forecast_reference import NumpySteps
from pvm_perception.core.forecast_steps import Steps
from pvm_perception.core.kernels.cpu import compiled
from pvm_perception.errors import PvmError

NUMBERS = (
    *("rows", "cols", "lanes", "height", "width", "margin", "pitch", "lines"),
    *("moves", "shared", "alike", "code", "inputs", "feedback", "lateral", "limit"),
)


class _Grid(ctypes.Structure):
    """A scale's geometry, as in forecast.h."""

    _fields_ = (
        *((name, ctypes.c_int) for name in NUMBERS),
        ("tried", ctypes.c_void_p),
    )


class _Frame(ctypes.Structure):
    """A stream's frame, as in forecast.h."""

    _fields_ = (
        ("grid", ctypes.c_void_p),
        *((field.name, ctypes.c_void_p) for field in fields(frames.Frame)),
    )


class _Weights(ctypes.Structure):
    """A scale's weights, as in forecast.h."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("w1", "b1", "w2", "b2"))


class Bound:
    """A stream's frame with its addresses.

    Parameters
    ----------
    g
        Geometry of the frame's scale.
    frame
        Its arrays, which may not be replaced while this lives.

    Attributes
    ----------
    at : of the frame's struct
    """

    def __init__(self, g: Geometry, frame: frames.Frame) -> None:
        parts = {name: g.parts[name].start if name in g.context else -1 for name in ("feedback", "lateral")}
        if g.top:
            parts["feedback"] = -1
        numbers = {name: getattr(g, name) for name in NUMBERS if name not in {*parts, "shared"}}
        self._grid = _Grid(**numbers, **parts, shared=len(g.shared), tried=g.tried.ctypes.data)
        arrays = {field.name: _at(getattr(frame, field.name)) for field in fields(frame)}
        self._frame = _Frame(grid=ctypes.addressof(self._grid), **arrays)
        self._kept = g, frame  # whose arrays the addresses are of
        self.at = ctypes.byref(self._frame)


class CompiledSteps:
    """The steps as compiled functions compute them; see `Steps`."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._departure = library.forecast_departure
        self._departure.restype = ctypes.c_float
        self._weights: dict[str, np.ndarray] = {}  # those whose addresses are known
        self._addresses = _Weights()

    def bind(self, g: Geometry, frame: frames.Frame) -> Bound:
        """See `Steps.bind`."""
        return Bound(g, frame)

    def see(self, now: Bound, image: np.ndarray) -> None:
        """See `Steps.see`."""
        self._library.forecast_see(now.at, _pointer(image))

    def halve(self, now: Bound, finer: Bound) -> None:
        """See `Steps.halve`."""
        self._library.forecast_halve(now.at, finer.at)

    def compare(self, now: Bound, last: Bound) -> None:
        """See `Steps.compare`."""
        self._library.forecast_compare(now.at, last.at)

    def foresee(
        self,
        now: Bound,
        last: Bound,
        parent: Bound | None,
        weights: dict[str, np.ndarray],
        motion: np.ndarray | None,
        known: bool,
    ) -> None:
        """See `Steps.foresee`."""
        self._library.forecast_foresee(
            now.at,
            last.at,
            parent.at if parent else None,
            self._at_weights(weights),
            None if motion is None else _pointer(motion),
            ctypes.c_int(known),
        )

    def departure(self, now: Bound) -> float:
        """See `Steps.departure`."""
        return self._departure(now.at)

    def _at_weights(self, weights: dict[str, np.ndarray]) -> Any:
        """Return the address of the weights' struct; mostly they are the arrays of the frame before."""
        if any(self._weights.get(name) is not w for name, w in weights.items()):
            self._addresses = _Weights(**{name: _at(w) for name, w in weights.items()})
            self._weights = weights
        return ctypes.byref(self._addresses)

    def judge(self, now: Bound, usual: np.ndarray, surprise: np.ndarray) -> None:
        """See `Steps.judge`."""
        self._library.forecast_judge(now.at, _pointer(usual), _pointer(surprise))

    def gradient(self, then: Bound, weight: float, gates: np.ndarray) -> None:
        """See `Steps.gradient`."""
        self._library.forecast_gradient(then.at, ctypes.c_float(weight), _pointer(gates))


@cache
def _library() -> ctypes.CDLL | None:
    try:
        return compiled()[1]
    except PvmError:
        return None


def steps() -> Steps:
    """Return what computes the steps of a forecast: compiled, else in NumPy."""
    library = _library()
    return NumpySteps() if library is None else CompiledSteps(library)


def _at(array: np.ndarray) -> int:
    """Return the address of an array without gaps."""
    if not array.flags.c_contiguous:
        raise PvmError("an array with gaps reached the compiled forecast; it takes whole arrays")
    return array.ctypes.data


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(_at(array))
