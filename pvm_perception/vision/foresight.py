"""Pictures of what a network expects: the next frame, and those after it."""

from __future__ import annotations

import numpy as np

from pvm_perception.core.backend import Images
from pvm_perception.core.interfaces import Network
from pvm_perception.vision.frame import BAR, View


def expected(network: Network, view: View | None, whole: bool = False) -> Images:
    """Return the frame that a network of one stream expects next, (h, w, 3) uint8 BGR, without the bars.

    Parameters
    ----------
    network
        Of one stream.
    view
        Which part of its picture a camera fills; None: all.
    whole
        Whether to make the whole change that it foresees, as `Forecaster.images`.
    """
    image = network.predicted_images(whole)[0]
    return image if view is None else image[_inner(view)]


def _inner(view: View) -> tuple[slice, slice]:
    rows, cols = view.shown
    return slice(view.top, view.top + rows), slice(view.left, view.left + cols)


class Foresight:
    """Shows a copy of a network its own forecasts, one after the other."""

    def __init__(self) -> None:
        self._of: Network | None = None
        self._copy: Network | None = None

    def images(self, network: Network, view: View | None, steps: int) -> list[Images]:
        """Return what a network of one stream expects 1 to `steps` frames from now, as `expected` does.

        Parameters
        ----------
        network
            Of one stream; its own state stays.
        view
            Which part of its picture a camera fills; None: all.
        steps
            How many frames, at least 1.
        """
        images = [expected(network, view)]
        if steps == 1:
            return images
        shown = expected(network, view, whole=True)
        self._copy = network.copy(self._copy if self._of is network else None)
        self._of = network
        picture = np.full((1, network.config.height, network.config.width, 3), BAR, np.uint8)
        for _ in range(steps - 1):
            picture[0][... if view is None else _inner(view)] = shown
            self._copy.step(picture, shown=None if view is None else np.array([view.filled], np.int32))
            shown = expected(self._copy, view, whole=True)
            images.append(shown)
        return images
