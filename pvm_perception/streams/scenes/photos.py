"""Real photographs as places; `scripts/train_data.py` collects them, the repository holds none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pvm_perception.errors import PvmError

SUFFIXES = (".jpg", ".jpeg", ".png")


def load_photos(folder: str | Path) -> list[np.ndarray]:
    """Return all photographs of a folder, (H, W, 3) uint8 BGR, sorted by name.

    Raises
    ------
    PvmError
        If there is none.
    """
    paths = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in SUFFIXES)
    photos = [image for p in paths if (image := cv2.imread(str(p), cv2.IMREAD_COLOR)) is not None]
    if not photos:
        raise PvmError(f"no photographs in {folder}; run `make train-data`")
    return photos
