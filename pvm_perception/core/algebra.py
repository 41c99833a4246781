"""The few operations that encoders and readouts share, for shared and for own weights.

Shared weights are (D, N); own weights are (U, D, N), one matrix per unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from pvm_perception.core.backend import Array
from pvm_perception.core.kernels import cpu

# a source (B, Us + 1, M) with a row of zeros last; whom each unit hears, (U, K), or None for who is in its
# own place (the source is (B, U, M) then); which of the weights' rows
Operand = tuple[Array, Array | None, slice]
ALL = slice(0, None)  # rows of a product's weights
LEAK = np.float32(0.1)  # slope of the leaky rectifier below zero
NORM_FLOOR = np.float32(1e-3)  # mean square of sums below which normalising no longer lifts them


def product(x: Array, w: Array) -> Array:
    """Return x (B, U, D) times w: (B, U, N)."""
    if w.ndim == 2:
        return (x.reshape(-1, x.shape[2]) @ w).reshape(x.shape[0], x.shape[1], -1)
    return (x.transpose(1, 0, 2) @ w).transpose(1, 0, 2)  # (U, B, D)(U, D, N) -> (B, U, N)


def product_into(out: Array, x: Array, w: Array, xp: ModuleType) -> Array:
    """Write x (B, U, D) times w into `out`, (B, U, N), and return it: without new memory."""
    if w.ndim == 2:
        xp.matmul(x.reshape(-1, x.shape[2]), w, out=out.reshape(-1, out.shape[2]))
    else:
        xp.matmul(x.transpose(1, 0, 2), w, out=out.transpose(1, 0, 2))
    return out


class Scratch:
    """Memory for what is needed for a moment: the same at every frame, of whatever shape.

    `size` is that of the largest array that is ever asked for, in values.
    """

    def __init__(self, size: int, xp: ModuleType) -> None:
        self._memory = xp.empty(size, np.float32)

    def __call__(self, *shape: int) -> Array:
        """Return an array of this shape; it holds what the last one left, and is its memory."""
        return self._memory[:math.prod(shape)].reshape(shape)


def affine_input_grad(dz: Array, w: Array) -> Array:
    """Return the error of the input, (B, U, D), from that of the output dz (B, U, N)."""
    return product(dz, w.swapaxes(-1, -2))


def weight_grad(x: Array, dz: Array) -> Array:
    """Return the gradient (D, N) of shared weights, summed over streams and units.

    x is (B, U, D), dz is (B, U, N).
    """
    # BLAS walks the wide factor in its own order this way: a tenth to a fifth faster
    return (dz.reshape(-1, dz.shape[2]).T @ x.reshape(-1, x.shape[2])).T


@dataclass(frozen=True)
class Outer:
    """The gradient of own weights, not yet multiplied out.

    It is the sum over streams of the outer products of what each unit heard and its error, and
    has dozens of times as many values as these two: who can, works with the factors.

    Attributes
    ----------
    x : (U, B, D), d : (U, B, N)
    """

    x: Array
    d: Array

    @classmethod
    def of(cls, x: Array, dz: Array) -> Outer:
        """Take x (B, U, D) and dz (B, U, N)."""
        return cls(x.transpose(1, 0, 2), dz.transpose(1, 0, 2))

    def square(self) -> Array:
        """Return the sum of the squared gradient."""
        return ((self.x @ self.x.swapaxes(1, 2)) * (self.d @ self.d.swapaxes(1, 2))).sum()

    def __mul__(self, factor: float) -> Outer:
        return Outer(self.x, self.d * factor)

    def dense(self) -> Array:
        """Return the gradient itself, (U, D, N)."""
        return self.x.swapaxes(1, 2) @ self.d


def total(d: Array, xp: ModuleType) -> Array:
    """Return the sum of d (..., N) over all but the last axis, (N,): as a product, several times as fast."""
    rows = d.reshape(-1, d.shape[-1])
    return xp.ones(len(rows), np.float32) @ rows


def gather(source: Array, index: Array, out: Array) -> Array:
    """Copy the codes of each unit's neighbourhood into `out`, (B, U, K * N), and return it.

    `source` is (B, Us + 1, N) with a row of zeros last, `index` (U, K).
    """
    flat = out.reshape(source.shape[0], index.size, source.shape[2])
    if isinstance(source, np.ndarray):  # unlike the others, this mode writes straight into `out`
        source.take(index.ravel(), axis=1, out=flat, mode="clip")
    else:
        flat[...] = source.take(index.ravel(), axis=1)
    return out


def gather_matmul(out: Array, parts: list[Operand], w: Array, scratch: tuple[Scratch, Scratch],
                  xp: ModuleType, adds: bool = False) -> Array:
    """Write what units hear, times w, into `out` (B, U, N), or add it, and return it.

    Parameters
    ----------
    out
        (B, U, N).
    parts
        Of what is heard.
    w
        (D, N), or of each unit's own, (U, D, N).
    scratch
        For all that is heard in a part, and for another `out`.
    xp
        Array module.
    adds
        Whether to add.
    """
    compiled = cpu.products() if w.ndim == 2 else None
    if compiled and compiled.take(out, w, *(source for source, _, _ in parts)):
        compiled.gather_matmul(out, parts, w, adds)
        return out
    for source, index, rows in parts:
        x = gather_inputs(source, index, scratch[0])  # (B, U, K * M)
        y = product_into(scratch[1](*out.shape) if adds else out, x, w[..., rows, :], xp)
        if adds:
            out += y
        adds = True
    return out


def gather_outer(out: Array, source: Array, index: Array | None, dz: Array, scratch: Scratch) -> None:
    """Write the gradient of a part's shared weights, summed over streams and units, into `out` (K * M, N).

    dz (B, U, N) is the error of `gather_matmul`, source and index are as there.
    """
    if (compiled := cpu.products()) and compiled.take(out, source, dz):
        compiled.gather_outer(out, source, index, dz)
    else:
        out[...] = weight_grad(gather_inputs(source, index, scratch), dz)


def matmul_scatter(out: Array, dz: Array, w: Array, index: Array) -> None:
    """Add the error of what is heard to whom it was heard from: `gather_matmul`, transposed.

    `out` is (B, Us + 1, M), whose last row has no meaning afterwards; the error of the product dz
    (B, U, N). `index` as for `scatter`.
    """
    if w.ndim == 2 and (compiled := cpu.products()) and compiled.take(out, dz, w):
        compiled.matmul_scatter(out, dz, w, index)
    else:
        scatter(out, affine_input_grad(dz, w), index)


def gather_inputs(source: Array, index: Array | None, scratch: Scratch) -> Array:
    """Return what units hear side by side, (B, U, K * M), as `gather` does, in `scratch`."""
    if index is None:
        return source
    return gather(source, index, scratch(source.shape[0], index.shape[0], index.shape[1] * source.shape[2]))


def scatter(out: Array, d: Array, index: Array) -> None:
    """Add d (B, U, K * N) onto out (B, Us + 1, N): the transpose of `gather`.

    Each column of `index` must name a source unit at most once (the row of zeros apart), which
    holds for blocks and for neighbourhoods of the same or a coarser grid.
    """
    n = out.shape[2]
    for k in range(index.shape[1]):
        out[:, index[:, k]] += d[:, :, k * n:(k + 1) * n]


def picked(marked: np.ndarray, xp: ModuleType) -> Array | slice | None:
    """Return the index of the streams marked in `marked`, a (B,) bool array on the host.

    None where nobody is marked and a slice where all are, the usual cases, which cost a GPU
    nothing; else (n,) indices on the device.
    """
    if marked.all():
        return slice(None)
    return xp.asarray(np.flatnonzero(marked)) if marked.any() else None


@dataclass(frozen=True)
class Activation:
    """A non-linearity.

    Attributes
    ----------
    value
        Writes the value of an array into other memory of the same shape.
    slope
        Returns the derivative, in terms of the value.
    leak
        Slope below zero of a rectifier; None of another.
    """

    value: Callable[[Array, Array], None]
    slope: Callable[[Array], Array]
    leak: float | None = None


def activation(name: str, xp: ModuleType) -> Activation:
    """Return a non-linearity by name.

    "polynomial" is the paper's sigmoid x / (2 (|x| + 1)) + 1/2 (arXiv 1607.06854, section 3).
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
    return {"tanh": Activation(tanh, lambda y: 1 - y * y),
            # `where` is many times as slow
            "leaky": Activation(leaky, lambda y: (y > 0) * (one - LEAK) + LEAK, float(LEAK)),
            "polynomial": Activation(
                polynomial, lambda y: np.float32(0.5) * (1 - xp.abs(2 * y - 1)) ** 2)}[name]


def normalise_activate(z: Array, sizes: Array, h: Array, phi: Activation, xp: ModuleType) -> None:
    """Write codes of sums z (B, U, N) into `h`: phi of the sums brought to a root mean square of 1.

    z is brought there, too, and `sizes` (B, U, 1) keeps by what it was divided.
    """
    if phi.leak is not None and (compiled := cpu.products()) and compiled.take(z, sizes, h):
        compiled.normalise_activate(z, sizes, h, NORM_FLOOR, phi.leak)
        return
    sizes[..., 0] = xp.einsum("bun,bun->bu", z, z)
    sizes /= np.float32(z.shape[2])
    sizes += NORM_FLOOR
    xp.sqrt(sizes, out=sizes)
    z /= sizes
    phi.value(z, h)


def normalise_activate_backward(d: Array, z: Array, sizes: Array, h: Array, phi: Activation, out: Array,
                                xp: ModuleType) -> None:
    """Write the error of the sums into `out` (B, U, N), from that of their codes, d.

    The others as `normalise_activate` left them.
    """
    if phi.leak is not None and (compiled := cpu.products()) and compiled.take(*d, z, sizes, out):
        compiled.normalise_activate_backward(d, z, sizes, out, phi.leak)
        return
    xp.multiply(d, phi.slope(h), out=out)
    along = xp.einsum("bun,bun->bu", out, z)[..., None] / np.float32(z.shape[2])
    out -= z * along
    out /= sizes
