"""Painted pictures without a target, for what a shown target has to stand out against."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from pvm_perception.core.backend import Images
from pvm_perception.errors import PvmError
from pvm_perception.shipped import shipped

PICTURE = (128, 160)  # rows, cols of each
ROWS, COLS = 8, 8  # of pictures in the sheet


@functools.cache
def backgrounds() -> Images:
    """Return the pictures of the shipped sheet, (64, 128, 160, 3) uint8 BGR.

    Raises
    ------
    PvmError
        The sheet is missing, or no such picture.
    """
    path = shipped("models/backgrounds.jpg")
    sheet = cv2.imread(str(path)) if path.is_file() else None
    rows, cols = PICTURE
    if sheet is None or sheet.shape != (ROWS * rows, COLS * cols, 3):
        raise PvmError(
            f"{path} is missing or damaged, and without it no target can be shown; install the package anew, "
            "or paint it: python scripts/background_sheet.py"
        )
    tiles = sheet.reshape(ROWS, rows, COLS, cols, 3).transpose(0, 2, 1, 3, 4)
    pictures: Images = np.ascontiguousarray(tiles.reshape(-1, rows, cols, 3))
    return pictures
