"""What the engine asks of the device that runs its kernels."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Protocol

import numpy as np

from pvm_perception.core.backend import Array
from pvm_perception.core.kernels.packing import Packing
from pvm_perception.core.kernels.plan import Launch


class Runner(Protocol):
    """What the engine asks of a device."""

    @property
    def name(self) -> str:
        """What computes, in words."""

    @property
    def multiprocessors(self) -> int:
        """How many blocks run at a time."""

    @property
    def shares(self) -> bool:
        """Whether it reads the host's own arrays of the weights that are in no product."""

    @property
    def packing(self) -> Packing | None:
        """How its products have sources and weights; None: as they are."""

    @property
    def xp(self) -> ModuleType:
        """The array module of its arrays."""

    def host(self, size: int) -> np.ndarray:
        """Return host memory (size,) uint8, zeros, that the device copies from and to best."""

    def put(self, array: np.ndarray) -> Array:
        """Return a copy of a host array in the device's memory."""

    def address(self, array: Array) -> int:
        """Return where a device array lies."""

    def write(self, array: Array, values: np.ndarray) -> None:
        """Copy host values over a device array; they may not change until the next `read`.

        Parameters
        ----------
        array
            In the device's memory.
        values
            Of its size and type, on the host.
        """

    def read(self, array: Array, out: np.ndarray | None = None) -> np.ndarray:
        """Copy a device array to the host when all before is done; to new memory, or into `out`.

        Parameters
        ----------
        array
            In the device's memory.
        out
            Host memory of its size and type; None takes new memory.
        """

    def squared_difference(self, a: np.ndarray, b: np.ndarray) -> float:
        """Return the sum of the squared differences of two host arrays (n,) uint8.

        Parameters
        ----------
        a, b
            On the host, of one size, at most a frame's.
        """

    def load(self, launches: list[tuple[Launch, tuple[int, int]]]) -> Callable[[], None]:
        """Return what runs kernels in order, each with its two addresses, once at each call.

        Loading may run them: nothing counts that they wrote so far. PvmError where it cannot be done.
        """
