"""How much work one frame is, counted from a layer's shapes.

All counts are for one stream's frame.
"""

from __future__ import annotations

import math

from pvm_perception.core.encoder import Encoder


def multiply_adds(encoder: Encoder) -> int:
    """Return the multiply-adds of `Encoder.forward`."""
    return sum(map(math.prod, encoder.products))


def learning_multiply_adds(encoder: Encoder) -> int:
    """Return the multiply-adds of `Encoder.gradients`, without those of the readout's error."""
    return multiply_adds(encoder) + encoder.layer.code * encoder.units * encoder.signal_size


def values(encoder: Encoder) -> int:
    """Return how many values a layer has: inputs of all its units, codes, predictions."""
    inputs = sum(part.units * part.depth for part in encoder.inputs.parts)
    return inputs + encoder.units * (encoder.layer.code + encoder.signal_size)
