"""The shipped descriptor, by which targets are shown to networks that are as the shipped one."""

from __future__ import annotations

import functools

from safetensors.numpy import load_file

from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.descriptor import Descriptor
from pvm_perception.core.size import descriptor_shapes, shown_width
from pvm_perception.errors import PvmError
from pvm_perception.shipped import shipped


def descriptor_for(config: HierarchyConfig) -> Descriptor:
    """Return what describes a network's codes: the shipped descriptor where it fits, else random features.

    Parameters
    ----------
    config
        Of a network with a box readout.

    Raises
    ------
    PvmError
        The shipped descriptor is missing or damaged.
    """
    width = shown_width(config)
    descriptor = _shipped_descriptor()
    return descriptor if len(descriptor.w1) == width else _drawn(width)


_drawn = functools.cache(Descriptor.drawn)


@functools.cache
def _shipped_descriptor() -> Descriptor:
    path = shipped("models/descriptor.safetensors")
    try:
        tensors = load_file(path)
        shapes = {name: w.shape for name, w in tensors.items()}
        if shapes == descriptor_shapes(shapes["w1"][0]):
            return Descriptor.of(tensors)
        reason = "it does not hold a descriptor's weights"
    except Exception as error:  # safetensors raises many kinds
        reason = " ".join(str(error).split())[:200]
    raise PvmError(
        f"{path} cannot be read ({reason}), and without it no target can be shown: install the package anew"
    )
