"""Choose what runs a network: the CPU or a GPU; kernels, or arrays for what kernels do not compute."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from pvm_perception.core.backend import array_module, find_gpu
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.interfaces import Network
from pvm_perception.core.kernels import cpu, cuda
from pvm_perception.core.kernels.engine import Engine
from pvm_perception.errors import PvmError


def build_network(
    config: HierarchyConfig, weights: dict[str, np.ndarray], device: str, step: int = 0
) -> tuple[Network, str]:
    """Make a network on a device.

    Parameters
    ----------
    config, weights, step
        As for `Hierarchy`.
    device
        "cpu", "cuda", or "auto": a GPU where one answers.

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


def on_kernels(network: Hierarchy, xp: ModuleType = np) -> Engine:
    """Return the engine that runs a network of the host with the kernels of the device of `xp`.

    Parameters
    ----------
    network
        On the host; the engine shares its weights or copies them, as the device needs.
    xp
        NumPy for the CPU's kernels, CuPy for a GPU's.

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
