"""The units' non-linearities, and the normalisation of the sums that they are taken of.

B streams, U units, N values of a code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from pvm_perception.core.backend import Array
from pvm_perception.core.kernels import cpu

LEAK = np.float32(0.1)  # slope of the leaky rectifier below zero
NORM_FLOOR = np.float32(1e-3)  # added to the mean square of sums: fainter sums are not brought up to 1


@dataclass(frozen=True)
class Activation:
    """A non-linearity.

    Attributes
    ----------
    value : writes the value of an array into other memory of the same shape
    slope : returns the derivative, in terms of the value
    leak : slope of a rectifier below zero; None for another non-linearity
    """

    value: Callable[[Array, Array], None]
    slope: Callable[[Array], Array]
    leak: float | None = None


def activation(name: str, xp: ModuleType) -> Activation:
    """Return a non-linearity by name.

    "polynomial" is the paper's sigmoid x / (2 (|x| + 1)) + 1/2 (arXiv 1607.06854, section 3).

    Parameters
    ----------
    name
        "tanh", "leaky" or "polynomial".
    xp
        Array module.

    Raises
    ------
    KeyError
        No non-linearity has that name; `HierarchyConfig` lets no other through.
    """

    def tanh(x: Array, out: Array) -> None:
        xp.tanh(x, out=out)

    def leaky(x: Array, out: Array) -> None:
        xp.multiply(x, LEAK, out=out)
        xp.maximum(x, out, out=out)

    def polynomial(x: Array, out: Array) -> None:
        xp.absolute(x, out=out)
        out += np.float32(1)
        out *= np.float32(2)
        xp.divide(x, out, out=out)
        out += np.float32(0.5)

    one = np.float32(1)
    return {
        "tanh": Activation(tanh, lambda y: 1 - y * y),
        # xp.where would be many times as slow
        "leaky": Activation(leaky, lambda y: (y > 0) * (one - LEAK) + LEAK, float(LEAK)),
        "polynomial": Activation(polynomial, lambda y: np.float32(0.5) * (1 - xp.abs(2 * y - 1)) ** 2),
    }[name]


def normalise_activate(z: Array, sizes: Array, h: Array, phi: Activation, xp: ModuleType) -> None:
    """Divide each unit's sums by their root mean square, and write the activation's value of them.

    Parameters
    ----------
    z
        (B, U, N) the sums, which are changed.
    sizes
        (B, U, 1), where the divisors are written.
    h
        (B, U, N), where the codes are written.
    phi
        The activation.
    xp
        Array module.
    """
    if phi.leak is not None and (compiled := cpu.products()) and compiled.take(z, sizes, h):
        compiled.normalise_activate(z, sizes, h, float(NORM_FLOOR), phi.leak)
        return
    sizes[..., 0] = xp.einsum("bun,bun->bu", z, z)
    sizes /= np.float32(z.shape[2])
    sizes += NORM_FLOOR
    xp.sqrt(sizes, out=sizes)
    z /= sizes
    phi.value(z, h)


def normalise_activate_backward(
    d: Array, z: Array, sizes: Array, h: Array, phi: Activation, out: Array, xp: ModuleType
) -> None:
    """Write the error of the sums, from the error of their codes.

    Parameters
    ----------
    d
        (B, U, N) the error of the codes.
    z, sizes, h
        As `normalise_activate` left them.
    phi
        The activation.
    out
        (B, U, N), where the error of the sums is written; may be `d`.
    xp
        Array module.
    """
    if phi.leak is not None and (compiled := cpu.products()) and compiled.take(*d, z, sizes, out):
        compiled.normalise_activate_backward(d, z, sizes, out, phi.leak)
        return
    xp.multiply(d, phi.slope(h), out=out)
    along = xp.einsum("bun,bun->bu", out, z)[..., None] / np.float32(z.shape[2])
    out -= z * along
    out /= sizes
