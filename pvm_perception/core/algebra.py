"""The few operations that encoders and readouts share, for shared and for own weights.

Shared weights are (D, N); own weights are (U, D, N), one matrix per unit.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

Array = Any


def affine(x: Array, w: Array, b: Array) -> Array:
    """Return x (B, U, D) times w plus b: (B, U, N)."""
    if w.ndim == 2:
        z = (x.reshape(-1, x.shape[2]) @ w).reshape(x.shape[0], x.shape[1], -1)  # (B, U, N)
    else:
        z = (x.transpose(1, 0, 2) @ w).transpose(1, 0, 2)  # (U, B, D)(U, D, N) -> (B, U, N)
    z += b
    return z


def affine_input_grad(dz: Array, w: Array) -> Array:
    """Return the error of the input, (B, U, D), from that of the output dz (B, U, N)."""
    if w.ndim == 2:
        return (dz.reshape(-1, dz.shape[2]) @ w.T).reshape(dz.shape[0], dz.shape[1], -1)
    return (dz.transpose(1, 0, 2) @ w.transpose(0, 2, 1)).transpose(1, 0, 2)


def affine_weight_grad(x: Array, dz: Array, own: bool) -> tuple[Array, Array]:
    """Return the gradients of the weights and of the bias, summed over streams."""
    if own:
        return x.transpose(1, 2, 0) @ dz.transpose(1, 0, 2), dz.sum(axis=0)
    flat = dz.reshape(-1, dz.shape[2])  # (B*U, N)
    return x.reshape(-1, x.shape[2]).T @ flat, flat.sum(axis=0)


def gather(source: Array, index: Array) -> Array:
    """Return the codes of each unit's neighbourhood.

    `source` is (B, Us + 1, N) with a row of zeros last, `index` (U, K): -> (B, U, K * N).
    """
    units, k = index.shape
    return source.take(index.ravel(), axis=1).reshape(source.shape[0], units, k * source.shape[2])


def scatter(out: Array, d: Array, index: Array) -> None:
    """Add d (B, U, K * N) onto out (B, Us + 1, N): the transpose of `gather`.

    Each column of `index` must name a source unit at most once (the row of zeros apart), which
    holds for blocks and for neighbourhoods of the same or a coarser grid.
    """
    n = out.shape[2]
    for k in range(index.shape[1]):
        out[:, index[:, k]] += d[:, :, k * n:(k + 1) * n]


def activation(name: str, xp: ModuleType) -> tuple[Callable, Callable]:
    """Return (function, derivative in terms of the function's value).

    "polynomial" is the paper's sigmoid x / (2 (|x| + 1)) + 1/2 (arXiv 1607.06854, section 3).
    """
    if name == "tanh":
        return xp.tanh, lambda y: 1 - y * y
    return (lambda x: x / (2 * (xp.abs(x) + 1)) + xp.float32(0.5),
            lambda y: xp.float32(0.5) * (1 - xp.abs(2 * y - 1)) ** 2)
