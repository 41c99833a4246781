"""Where a network runs: on the CPU or a GPU; on kernels, or arrays for what they do not do."""

from __future__ import annotations

import contextlib
from types import ModuleType
from typing import Protocol

import numpy as np

from pvm_perception.core.backend import Array, array_module, find_gpu
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import cpu, cuda
from pvm_perception.core.kernels.engine import Engine
from pvm_perception.errors import PvmError


class Network(Protocol):
    """What runs frames of B streams, as `Hierarchy` documents it; learning apart, all that a user needs.

    Attributes
    ----------
    xp : array module of the device
    weights : by name, here or on the device
    step_count : learning steps behind these weights
    known : streams whose last frame had one before, (B,) bool
    runs_on : in words, what computes it
    """

    config: HierarchyConfig
    batch: int
    xp: ModuleType
    weights: dict[str, Array]
    step_count: int
    known: np.ndarray
    runs_on: str

    def twin(self) -> Network:
        """Return a network with a state of its own that shares these very weights."""

    def copy(self, into: Network | None = None) -> Network:
        """Return a network with these weights that goes on from this state, while this one stays as it is.

        `into` is an earlier copy of this network, whose memory may be used again.
        """

    def as_learning(self) -> Hierarchy:
        """Return the network that can `learn`: this one, or one with these weights and this state."""

    def step(self, images: np.ndarray, motion: np.ndarray | None = None) -> object:
        """Run one frame of every stream."""

    def candidates(self, least: float, most: int = 8) -> list[list[np.ndarray]]:
        """Return the last frame's candidate boxes, by stream and target: (n, 5) x, y, w, h, score."""

    def heat(self) -> np.ndarray:
        """Return the last frame's presence, (B, R, C, targets) in 0..1."""

    def reset(self, streams: np.ndarray | None = None) -> None:
        """Forget the past of some streams, or of all."""

    def codes(self, name: str) -> np.ndarray:
        """Return the last frame's codes of a layer, (B, U, N)."""

    def forecast_errors(self) -> tuple[float, float]:
        """Return the mean squared errors at the last frame of the forecast and of copying."""

    def surprise(self) -> np.ndarray:
        """Return the root mean square surprise of each layer-1 unit, (B, rows, cols)."""

    def predicted_images(self) -> np.ndarray:
        """Return the frames that layer 1 expects next, (B, H, W, 3) uint8, BGR."""


def build_network(config: HierarchyConfig, weights: dict[str, np.ndarray], device: str, learn: bool = False,
          step: int = 0) -> tuple[Network, str]:
    """Make a network on a device.

    Parameters
    ----------
    config, weights, step
        As for `Hierarchy`.
    device
        "cpu", "cuda", or "auto": a GPU where one answers.
    learn
        Whether it has to learn, which the kernels do not.

    Returns
    -------
    network, notice
        The notice says in one line why it runs slower than might have been hoped for: on the CPU for
        want of a GPU, or without the kernels. Empty where there is nothing to say.

    Raises
    ------
    PvmError
        If "cuda" was asked for and cannot be had, or the word is unknown.
    """
    xp, notices = array_module(device), []
    if xp is np and device == "auto":
        notices.append(f"device 'auto' takes the CPU: {find_gpu()[1]}")
    if learn:
        return Hierarchy(config, 1, xp, weights, step=step), "; ".join(notices)
    network = Hierarchy(config, 1, np, weights, step=step, learns=False)
    try:
        return on_kernels(network, xp), "; ".join(notices)
    except PvmError as error:
        notices.append(str(error))
    except Exception as error:  # compiler, driver and runtime raise types of their own
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        notices.append(f"the kernels cannot be loaded ({reason}); arrays do their work, slower")
    if xp is not np:
        network = Hierarchy(config, 1, xp, weights, step=step, learns=False)
    return network, "; ".join(notices)


def sharing_weights(network: Network) -> Network:
    """Return what runs another stream with these very weights, and sees them learn: kernels, if they can."""
    if isinstance(network, Hierarchy) and network.xp is np:
        with contextlib.suppress(PvmError):
            return on_kernels(network)
    return network.twin()


def on_kernels(network: Hierarchy, xp: ModuleType = np) -> Engine:
    """Return the engine that runs a network of the host with the kernels of the device of `xp`.

    Raises
    ------
    PvmError
        If they do not run such a network, or were not compiled.
    Exception
        Of other types, from a GPU's compiler, driver and runtime.
    """
    if xp is np:
        return Engine(network, cpu.CpuRunner())
    return Engine(network, cuda.CudaRunner())
