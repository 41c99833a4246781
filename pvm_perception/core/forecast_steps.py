"""What computes the steps of a forecast on the frames of one scale, as a protocol.

Shapes as in `forecast_frame`.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from pvm_perception.core.forecast_frame import Frame, Geometry


class Steps(Protocol):
    """What computes the steps of a forecast, on frames of one stream as `bind` returned them."""

    def bind(self, g: Geometry, frame: Frame) -> Any:
        """Return a stream's frame as the steps take it.

        Parameters
        ----------
        g
            Geometry of the frame's scale.
        frame
            The arrays of one stream, as `Frame.stream` returns them.
        """

    def see(self, now: Any, image: np.ndarray) -> None:
        """Take an image; outside of the part that is shown the planes repeat its edge.

        Parameters
        ----------
        now
            Frame of the finest scale, whose `planes` are written.
        image
            (H, W, 3) uint8, blue, green, red.
        """

    def halve(self, now: Any, finer: Any) -> None:
        """Take the picture of the frame of a scale twice as fine: means of 2 x 2 pixels.

        Parameters
        ----------
        now
            Frame whose `planes` are written.
        finer
            Frame of the scale twice as fine, which has its picture.
        """

    def compare(self, now: Any, last: Any) -> None:
        """Compare the last forecast with the picture: write `error`, `wrong` and `changed`.

        All are 0 outside of the part that is shown.

        Parameters
        ----------
        now
            Frame of this picture, which is written.
        last
            Frame of the picture before, for what changed.
        """

    def foresee(
        self,
        now: Any,
        last: Any,
        parent: Any,
        weights: dict[str, np.ndarray],
        motion: np.ndarray | None,
        known: bool,
    ) -> None:
        """Choose how each unit's part moves on, and make the forecast of the next picture.

        Parameters
        ----------
        now, last, parent
            Frames: of this picture and the last; the scale's above, which has chosen; None at the top.
        weights
            w1 (D, N), b1 (N,), w2 (N, TERMS), b2 (TERMS,).
        motion
            (4,) float32 of the robot, as `Hierarchy.step` takes it; None where it is not known.
        known
            Whether there was a frame before; else this picture is expected once more.
        """

    def departure(self, now: Any) -> float:
        """Return how far the forecast departs from this picture where it is shown.

        Sum of squares over the number of values in the whole picture.
        """

    def judge(self, now: Any, usual: np.ndarray, surprise: np.ndarray) -> None:
        """Write how surprising a frame was at each unit of the finest scale; see `Forecaster.surprise`.

        Parameters
        ----------
        now
            Frame of the finest scale, whose last forecast was compared.
        usual
            (U,) each unit's running mean error, which takes in this frame's; all zeros at first.
        surprise
            (U,), written.
        """

    def gradient(self, then: Any, weight: float, gates: np.ndarray) -> None:
        """Write the gradient of half the squared error of a forecast by the gates.

        Parameters
        ----------
        then
            Frame that the forecast was made with; its `error` is that of one frame later.
        weight
            Factor of the gradient.
        gates
            (TERMS, L), written.
        """
