"""What a descriptor reads of the picture around each cell, in addition to the codes.

Codes say what the forecast and the trained targets need; colours and coarse shapes of any other thing are
plainer in the picture itself.

Shapes: H x W px of the picture, R x C cells.
"""

from __future__ import annotations

import numpy as np

from pvm_perception.core.backend import Floats, Images
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.size import SQUARE, SQUARES, SURROUNDINGS


class Surroundings:
    """Reads the picture around each cell: means of squares, and mean and spread of the whole.

    Parameters
    ----------
    config
        Of the network whose cells they are.
    """

    def __init__(self, config: HierarchyConfig) -> None:
        down, right = (
            np.round((np.arange(count) + 0.5) * stride / SQUARE).astype(int) + SQUARES // 2
            for count, stride in zip((config.cells.rows, config.cells.cols), config.stride, strict=True)
        )
        self._down, self._right = np.repeat(down, len(right)), np.tile(right, len(down))  # (R * C,)

    def read(self, picture: Images) -> Floats:
        """Return what each cell reads, (R * C, SURROUNDINGS) in 0..1.

        Parameters
        ----------
        picture
            (H, W, 3) uint8 BGR, the network's input.
        """
        rows, cols = picture.shape[0] // SQUARE, picture.shape[1] // SQUARE
        whole = picture[: rows * SQUARE, : cols * SQUARE]
        sums = whole.reshape(rows, SQUARE, -1).sum(axis=1, dtype=np.uint16)  # (rows, W * 3)
        sums = sums.reshape(rows, cols, SQUARE, 3).sum(axis=2, dtype=np.uint16)  # (rows, cols, 3)
        squares = sums / np.float32(255 * SQUARE**2)
        squares = np.pad(squares, ((SQUARES, SQUARES), (SQUARES, SQUARES), (0, 0)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(squares, (SQUARES, SQUARES), axis=(0, 1))
        near = windows[self._down, self._right].reshape(len(self._down), -1)  # (R * C, 3 * SQUARES**2)
        pixels = picture.reshape(-1, 3) / np.float32(255)
        mean = (np.ones(len(pixels), np.float32) @ pixels) / np.float32(len(pixels))  # (3,)
        square = np.diagonal(pixels.T @ pixels) / np.float32(len(pixels))
        found = np.empty((len(near), SURROUNDINGS), np.float32)
        found[:, : near.shape[1]] = near
        found[:, near.shape[1] :] = *mean, *np.sqrt(np.maximum(square - mean**2, 0))
        return found
