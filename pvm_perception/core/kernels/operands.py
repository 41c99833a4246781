"""A network's sources and weights as its products read; zeros where they need none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pvm_perception.core import pictures
from pvm_perception.core.backend import Array
from pvm_perception.core.cells import SIZE_LIMIT
from pvm_perception.core.config import INPUT, MOTION
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels.packing import SCALED, Range
from pvm_perception.core.kernels.runner import Runner

MEMORY = "memory"  # the readout's, as a source
PIXEL_STEPS = 8 * 255  # integers of values from 0 or -x to x: every pixel is a whole number of them
Packed = tuple[int, int, int]  # as plan.PACKED
Words = tuple[int, int, float, float]  # as plan.WORDS


class Operands:
    """The words of sources, and the packed weights.

    Parameters
    ----------
    network
        On the host.
    runner
        The device.
    sources
        By name: the device's arrays, (..., rows, width).
    zeros
        Returns a new array of the state, of a shape and a type.
    shared
        Device arrays that no frame changes, by content; new ones are added.

    Attributes
    ----------
    words : of each source, by name
    """

    def __init__(
        self,
        network: Hierarchy,
        runner: Runner,
        sources: dict[str, Array],
        zeros: Callable[..., Array],
        shared: dict[Any, Any],
    ) -> None:
        c = network.config
        self._weights, self._runner, self._shared = network.weights, runner, shared
        self._width = {name: array.shape[-1] for name, array in sources.items()}
        self._ranges = {
            INPUT: Range(max(abs(c.low), abs(c.high)), PIXEL_STEPS),
            MOTION: Range(pictures.MOTION_LIMIT),
            MEMORY: Range(SIZE_LIMIT),
            **{layer.name: Range(layer.code**0.5, of_norm=True) for layer in c.layers},
        }
        self.words = {name: self._source(name, array, zeros) for name, array in sources.items()}

    def _source(self, name: str, array: Array, zeros: Callable[..., Array]) -> Words:
        packing, held = self._runner.packing, self._ranges[name]
        if packing is None:
            return (0, 0, 0.0, 0.0)
        pitch = packing.pitch(self._width[name])
        if packing.pairs:
            array = zeros(*array.shape[:-1], 2 * pitch, dtype=np.int16)
        return self._runner.address(array), pitch, held.steps, held.largest

    def packed(self, name: str, source: str, gain: float = 1.0, first: int = 0, fan_in: int = 1) -> Packed:
        """Return the weights by which rows of a source are multiplied.

        Parameters
        ----------
        name
            Of the weights; "": the source is in no product.
        source
            Its name.
        gain
            Of the link over which it is read.
        first, fan_in
            The first row of the weights, and how many of the source's rows each unit reads.
        """
        return self._pack(name, self._width[source], self._ranges[source], gain, first, fan_in)

    def packed_scaled(self, name: str, width: int, gain: float = 1.0, first: int = 0) -> Packed:
        """Return the weights by which each unit's own row is multiplied, which has a scale of its own.

        Parameters
        ----------
        name, gain, first
            As for `packed`.
        width
            Of the row.
        """
        return self._pack(name, width, SCALED, gain, first)

    def _pack(
        self, name: str, width: int, held: Range, gain: float = 1.0, first: int = 0, fan_in: int = 1
    ) -> Packed:
        packing = self._runner.packing
        if packing is None or not name:
            return (0, 0, 0)
        w = self._weights[name][first : first + fan_in * width]
        key = ("packed", name, first)
        if key not in self._shared:
            self._shared[key] = [self._runner.put(a) for a in packing.weights(w, width, held, gain)]
        words, scale = map(self._runner.address, self._shared[key])
        return words, scale, packing.together(width)
