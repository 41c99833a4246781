"""Paint models/backgrounds.jpg: pictures without a target, against which a shown target has to stand out.

A sheet of small pictures, row by row, each of the size of the shipped network's input. Needs nothing but
this repository; the same seed paints the same sheet.
Usage: .venv/bin/python scripts/background_sheet.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pvm_perception.streams.scenes.scene import Scene
from pvm_perception.vision.backgrounds import COLS, PICTURE, ROWS

SEED = 20_000_000
QUALITY = 88
SHEET = Path(__file__).resolve().parent.parent / "models" / "backgrounds.jpg"


def picture(seed: int) -> np.ndarray:
    """Return a painted scene that holds no target, (rows, cols, 3) uint8."""
    scene = Scene(np.random.default_rng(seed), 1, PICTURE, None, cast=(), hardest=0.5)
    return scene.render(0)[0]


def main() -> None:
    """Paint and write the sheet."""
    pictures = np.stack([picture(SEED + k) for k in range(ROWS * COLS)])
    rows, cols = PICTURE
    sheet = pictures.reshape(ROWS, COLS, rows, cols, 3).transpose(0, 2, 1, 3, 4)
    cv2.imwrite(str(SHEET), sheet.reshape(ROWS * rows, COLS * cols, 3), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    print(f"{SHEET.name}: {ROWS * COLS} pictures, {SHEET.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
