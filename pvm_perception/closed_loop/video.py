"""A run for people to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pvm_perception.closed_loop.simulation import Simulation
from pvm_perception.streams.film import Film
from pvm_perception.types import Track
from pvm_perception.vision.draw import draw_tracks


class Video:
    """The camera's picture with boxes, left of the view from above.

    Parameters
    ----------
    path
        The file, MP4.
    rate
        Pictures a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._film = Film(path, rate)

    def add(self, image: np.ndarray, tracks: list[Track], simulation: Simulation) -> None:
        """Add a picture: a frame of the camera, what was found in it, and where all that was.

        Parameters
        ----------
        image
            (H, W, 3) uint8 BGR.
        tracks
            Found in it, pixels.
        simulation
            At that moment; it is drawn from above.
        """
        picture = np.hstack(
            [
                draw_tracks(image, tracks),
                cv2.resize(
                    simulation.from_above(), (image.shape[0], image.shape[0]), interpolation=cv2.INTER_AREA
                ),
            ]
        )
        cv2.putText(
            picture,
            f"{simulation.time:5.1f} s",
            (image.shape[1] + 8, 20),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.5,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
        self._film.write(picture)

    def close(self) -> None:
        """Finish the file; PvmError where not all of it could be written."""
        self._film.close()
