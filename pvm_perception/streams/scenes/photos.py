"""Real pictures of places and things; `scripts/train_data.py` collects them, none is in here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pvm_perception.errors import PvmError

SUFFIXES = (".jpg", ".jpeg", ".png")


def load_photos(folder: str | Path) -> list[np.ndarray]:
    """Return all pictures of a folder, sorted by name, uint8.

    Places are (H, W, 3) BGR; things with a transparent ground (H, W, 4) BGRA.

    Raises
    ------
    PvmError
        If there is none.
    """
    paths = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in SUFFIXES)
    photos = []
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is not None and (image.ndim != 3 or image.dtype != np.uint8):
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is not None:
            photos.append(image)
    if not photos:
        raise PvmError(f"no photographs in {folder}; run `make train-data`")
    return photos
