"""The few operations that encoders and readouts share, for shared and for own weights.

Shared weights are (D, N); own weights are (U, D, N), one matrix for each unit. B streams, U units, D
inputs, N outputs; a source has Us units of M values, K of which one unit reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from pvm_perception.core.backend import Array, Mask
from pvm_perception.core.kernels import cpu

# One operand of a product: a source (B, Us + 1, M) whose last row is zeros, the source units that each
# unit reads (U, K), and the rows of the weights that they are multiplied with. Where the index is None,
# the source is (B, U, M) and each unit reads its own row.
Operand: TypeAlias = tuple[Array, Array | None, slice]
ALL = slice(0, None)  # all rows of the weights


def product(x: Array, w: Array) -> Array:
    """Return the product of inputs and weights.

    Parameters
    ----------
    x
        (B, U, D) the units' inputs.
    w
        (D, N), or own weights (U, D, N).

    Returns
    -------
    Array
        (B, U, N).
    """
    if w.ndim == 2:
        return (x.reshape(-1, x.shape[2]) @ w).reshape(x.shape[0], x.shape[1], -1)
    return (x.transpose(1, 0, 2) @ w).transpose(1, 0, 2)  # (U, B, D)(U, D, N) -> (B, U, N)


def product_into(out: Array, x: Array, w: Array, xp: ModuleType) -> Array:
    """Write the product of inputs and weights into `out` and return it: without new memory.

    Parameters
    ----------
    out
        (B, U, N).
    x
        (B, U, D) the units' inputs.
    w
        (D, N), or own weights (U, D, N).
    xp
        Array module.
    """
    if w.ndim == 2:
        xp.matmul(x.reshape(-1, x.shape[2]), w, out=out.reshape(-1, out.shape[2]))
    else:
        xp.matmul(x.transpose(1, 0, 2), w, out=out.transpose(1, 0, 2))
    return out


class Scratch:
    """Memory for intermediate results: allocated once and used for arrays of any shape.

    Parameters
    ----------
    size
        How many values the largest array has that will be asked for.
    xp
        Array module.
    """

    def __init__(self, size: int, xp: ModuleType) -> None:
        self._memory = xp.empty(size, np.float32)

    def __call__(self, *shape: int) -> Array:
        """Return an array of this shape in the memory of the last one: it holds what that left."""
        return self._memory[: math.prod(shape)].reshape(shape)


def input_error(dz: Array, w: Array) -> Array:
    """Return the error of the inputs from that of their product with w.

    Parameters
    ----------
    dz
        (B, U, N) the error of the product.
    w
        (D, N), or own weights (U, D, N).

    Returns
    -------
    Array
        (B, U, D).
    """
    return product(dz, w.swapaxes(-1, -2))


def outer_product(x: Array, dz: Array) -> Array:
    """Return the gradient of shared weights, summed over streams and units.

    Parameters
    ----------
    x
        (B, U, D) the units' inputs.
    dz
        (B, U, N) the error of their product with the weights.

    Returns
    -------
    Array
        (D, N).
    """
    # BLAS walks the wide factor in its own order this way: a tenth to a fifth faster
    return (dz.reshape(-1, dz.shape[2]).T @ x.reshape(-1, x.shape[2])).T


@dataclass(frozen=True)
class Outer:
    """The gradient of own weights, kept as its factors.

    It is the sum over streams of the outer products of each unit's inputs and its error. It has dozens
    of times as many values as these two, so the optimizer works with the factors where it can.

    Attributes
    ----------
    x : (U, B, D), the inputs
    d : (U, B, N), the errors
    """

    x: Array
    d: Array

    @classmethod
    def of(cls, x: Array, dz: Array) -> Outer:
        """Return the gradient of own weights by which the units' inputs were multiplied.

        Parameters
        ----------
        x
            (B, U, D) the inputs.
        dz
            (B, U, N) the error of the product.
        """
        return cls(x.transpose(1, 0, 2), dz.transpose(1, 0, 2))

    def square(self) -> Array:
        """Return the sum of the squared gradient, ()."""
        return ((self.x @ self.x.swapaxes(1, 2)) * (self.d @ self.d.swapaxes(1, 2))).sum()

    def __mul__(self, factor: float | np.floating[Any]) -> Outer:
        return Outer(self.x, self.d * factor)

    def dense(self) -> Array:
        """Return the gradient itself, (U, D, N)."""
        return self.x.swapaxes(1, 2) @ self.d


Gradient: TypeAlias = Array | Outer  # of shared weights, of own weights


def total(d: Array, xp: ModuleType) -> Array:
    """Return the sum over all axes but the last.

    It is computed as a product with ones, which is several times as fast as a sum.

    Parameters
    ----------
    d
        (..., N).
    xp
        Array module.

    Returns
    -------
    Array
        (N,).
    """
    rows = d.reshape(-1, d.shape[-1])
    return xp.ones(len(rows), np.float32) @ rows


def gather(source: Array, index: Array, out: Array) -> Array:
    """Copy the values of each unit's neighbourhood into `out` and return it.

    Parameters
    ----------
    source
        (B, Us + 1, M), whose last row is zeros.
    index
        (U, K) the source units that each unit reads.
    out
        (B, U, K * M).
    """
    flat = out.reshape(source.shape[0], index.size, source.shape[2])
    if isinstance(source, np.ndarray):  # unlike the others, this mode writes straight into `out`
        source.take(index.ravel(), axis=1, out=flat, mode="clip")
    else:
        flat[...] = source.take(index.ravel(), axis=1)
    return out


def gather_matmul(
    out: Array,
    parts: Sequence[Operand],
    w: Array,
    scratch: tuple[Scratch, Scratch],
    xp: ModuleType,
    adds: bool = False,
) -> Array:
    """Write the units' inputs times w into `out`, or add the product to it, and return it.

    Parameters
    ----------
    out
        (B, U, N).
    parts
        The units' inputs, part by part.
    w
        (D, N), or own weights (U, D, N).
    scratch
        Memory for the gathered inputs of a part, and for another array like `out`.
    xp
        Array module.
    adds
        Whether the product is added to `out`.
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
    """Write the gradient of a part's shared weights into `out`, summed over streams and units.

    Parameters
    ----------
    out
        (K * M, N).
    source, index
        The part's values and index, as in `Operand`.
    dz
        (B, U, N) the error of the product that `gather_matmul` made.
    scratch
        Memory for the gathered inputs.
    """
    if (compiled := cpu.products()) and compiled.take(out, source, dz):
        compiled.gather_outer(out, source, index, dz)
    else:
        out[...] = outer_product(gather_inputs(source, index, scratch), dz)


def matmul_scatter(out: Array, dz: Array, w: Array, index: Array) -> None:
    """Add the error of the inputs to the source units that they were read from.

    It is the transpose of `gather_matmul`.

    Parameters
    ----------
    out
        (B, Us + 1, M) the error of the source; its last row has no meaning afterwards.
    dz
        (B, U, N) the error of the product.
    w
        (K * M, N), or own weights (U, K * M, N).
    index
        (U, K), as for `scatter`.
    """
    if w.ndim == 2 and (compiled := cpu.products()) and compiled.take(out, dz, w):
        compiled.matmul_scatter(out, dz, w, index)
    else:
        scatter(out, input_error(dz, w), index)


def gather_inputs(source: Array, index: Array | None, scratch: Scratch) -> Array:
    """Return what each unit reads, side by side.

    Parameters
    ----------
    source, index
        As in `Operand`.
    scratch
        Memory for the result; not used where the index is None.

    Returns
    -------
    Array
        (B, U, K * M), or the source itself where the index is None.
    """
    if index is None:
        return source
    return gather(source, index, scratch(source.shape[0], index.shape[0], index.shape[1] * source.shape[2]))


def scatter(out: Array, d: Array, index: Array) -> None:
    """Add errors of what units read to the source units that it was read from: the transpose of `gather`.

    Parameters
    ----------
    out
        (B, Us + 1, M), to which they are added; its last row has no meaning afterwards.
    d
        (B, U, K * M) the errors.
    index
        (U, K) the source units that each unit reads. Each column must name a source unit at most once (except
        for the row of zeros), which holds for blocks and for neighbourhoods on the same or a coarser grid.
    """
    n = out.shape[2]
    for k in range(index.shape[1]):
        out[:, index[:, k]] += d[:, :, k * n : (k + 1) * n]


def stream_index(marked: Mask, xp: ModuleType) -> Array | slice | None:
    """Return an index of the marked streams.

    It needs no copy to the device in the usual cases, in which no stream or all are marked.

    Parameters
    ----------
    marked
        (B,) on the host.
    xp
        Array module.

    Returns
    -------
    Array | slice | None
        None where no stream is marked, a slice where all are; else (n,) on the device.
    """
    if marked.all():
        return slice(None)
    return xp.asarray(np.flatnonzero(marked)) if marked.any() else None
