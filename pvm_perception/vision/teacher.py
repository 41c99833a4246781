"""Show a model a new target: views of a box, what the cells read of them, and the closed form."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from pvm_perception.core.backend import Floats, Images, OneThread
from pvm_perception.core.cells import UNIT_BOX, Cells
from pvm_perception.core.descriptor import VALUES, Descriptor
from pvm_perception.core.few_boxes import Backgrounds, Example, Halves, fit
from pvm_perception.core.interfaces import Network
from pvm_perception.core.shown import MOST_BOXES, MOST_SHOWN, CellReader, ShownTargets, check_name
from pvm_perception.errors import PvmError
from pvm_perception.vision.backgrounds import backgrounds
from pvm_perception.vision.descriptors import descriptor_for
from pvm_perception.vision.frame import BAR, View, as_bgr, network_input
from pvm_perception.vision.veil import Veil

VIEWS = 12  # of a box
SIDES = (12.0, 80.0)  # network px that the target's longer side has in a view
GAIN, TINT, GAMMA = 0.25, 0.06, 0.15  # spread of a view's light, of its colour, and of its contrast
DRIFT = 5  # network px at most that a background has moved since the frame before
LEAST_PRESENCE = 0.3  # of a cell that counts as the target's
OUTSIDE = 24  # cells of a view that count as not the target's
CLOSER = 2.0  # enlargement of half of the pictures of the place
LEAST_SIDE = 4.0  # px of a taught box
SEED = 7


class Teacher:
    """Learns shown targets, on a network with a state of its own that shares the tracker's weights.

    The boxes that it was shown are remembered, so that each further one of a target counts with those
    before it; from a model file come only the answers, and the first new box of a target replaces them.

    Parameters
    ----------
    network
        The tracker's.

    Attributes
    ----------
    place : returns pictures of the robot's surroundings, (H, W, 3) uint8 BGR each: examples of what a new
        target is not, though it may be in some of them. It may be set

    Raises
    ------
    PvmError
        Targets cannot be shown to such a network.
    """

    def __init__(self, network: Network) -> None:
        self.of = network
        self.place: Callable[[], Sequence[Images]] = tuple
        self._reader = CellReader(network.config, descriptor_for(network.config))
        self._network = network.twin()
        config = network.config
        cells = config.cells
        self._size = config.height, config.width
        self._cells = Cells(1, (cells.rows, cells.cols), config.stride, 1)
        self._examples: dict[str, list[Example]] = {}
        self._backgrounds: tuple[int, Backgrounds] | None = None  # and the learning step they belong to
        self._places: dict[tuple[int, int], Halves] = {}  # by the learning step and a sum of the picture
        self._one_thread = OneThread()
        self._rng = np.random.default_rng(SEED)

    def learn(self, shown: ShownTargets, image: Images, name: str, box: Sequence[float]) -> ShownTargets:
        """Return the shown targets with one box more learnt; see `Tracker.teach`.

        Parameters
        ----------
        shown
            What was shown before.
        image
            (H, W, 3) uint8, BGR.
        name
            The target's name, known or new.
        box
            x, y, w, h in the image, px.
        """
        check_name(name)
        image = Veil().lift(as_bgr(image))  # as the eyes see it
        x, y, w, h = checked_box(box, (image.shape[0], image.shape[1]))
        if name not in shown.names and len(shown.names) >= MOST_SHOWN:
            raise PvmError(
                f"{MOST_SHOWN} shown targets are known, and no more are kept: forget one of "
                f"{', '.join(shown.names)} first"
            )
        self._describe_by(shown.descriptor)
        with self._one_thread:
            example = self._example(image, (x, y, w, h))
            against = self._against()
            examples = [*self._examples.get(name, []), example][-MOST_BOXES:]
            weights, bias = fit(examples, against, self._here())
        self._examples[name] = examples
        return shown.with_target(name, len(examples), weights, bias, self._reader.descriptor)

    def forget(self, name: str) -> None:
        """Forget a target's boxes."""
        self._examples.pop(name, None)

    def _describe_by(self, descriptor: Descriptor | None) -> None:
        """Read by the descriptor of what was shown before, if any; what was read by another is forgotten."""
        if descriptor is not None and descriptor is not self._reader.descriptor:
            self._reader = CellReader(self.of.config, descriptor)
            self._examples, self._backgrounds, self._places = {}, None, {}

    def _against(self) -> Backgrounds:
        """Return what the network, as it is now, makes of the painted backgrounds."""
        step = self._network.step_count
        if self._backgrounds is None or self._backgrounds[0] != step:
            pictures = backgrounds()
            view = View.fit((pictures.shape[1], pictures.shape[2]), self._size)
            drifts = self._rng.integers(-DRIFT, DRIFT + 1, (len(pictures), 2))  # px
            drifts[::2] = 0  # half of them stand still
            read = [self._read(p, view, d)[:, VALUES] for p, d in zip(pictures, drifts, strict=True)]
            self._backgrounds = step, Backgrounds(np.stack(read).astype(np.float16))
        return self._backgrounds[1]

    def _here(self) -> list[Halves]:
        """Return descriptors in pictures of the place, (R * C, V) each.

        Those of a picture are made once, so that of many boxes only the first one waits for them.
        """
        step, known = self._network.step_count, self._places
        self._places = {}  # without pictures that are given no more
        for k, picture in enumerate(self.place()):
            key = step, zlib.crc32(picture.tobytes())
            if key not in known:
                read = self._read(*self._seen_at_place(picture, closer=k % 2 == 1))
                known[key] = read[:, VALUES].astype(np.float16)
            self._places[key] = known[key]
        return list(self._places.values())

    def _seen_at_place(self, picture: Images, closer: bool) -> tuple[Images, View]:
        """Return a picture of the place, and the whole of it or, as a closer eye sees it, a part."""
        image = Veil().lift(as_bgr(picture))
        size = image.shape[0], image.shape[1]
        view = View.fit(size, self._size)
        if closer:
            centre = self._rng.uniform(0, 1, 2) * size[::-1]
            view = View.window(size, self._size, (float(centre[0]), float(centre[1])), CLOSER * view.scale)
        return image, view

    def _read(self, image: Images, view: View, drift: Sequence[int] = (0, 0)) -> Floats:
        """Return what the cells read of a picture, (R * C, READ).

        Parameters
        ----------
        image
            (H, W, 3) uint8, BGR.
        view
            The part of it that the network sees.
        drift
            How far it has moved since the frame before, network px down and right: codes of what moves
            differ from those of what stands.
        """
        picture = network_input(image, view)[None]
        shown = np.array([view.filled], np.int32)
        self._network.reset()
        before = np.roll(picture, (-drift[0], -drift[1]), (1, 2))
        for frame in (before, picture):  # the first one is seen without context, as by `Eye.see`
            self._network.step(np.ascontiguousarray(frame), None, shown, foresee=False)
        return self._reader.read(self._network, picture[0])

    def _example(self, image: Images, box: tuple[float, float, float, float]) -> Example:
        """Return what the cells read of several views of a box."""
        inside, presence, boxes, outside, number = [], [], [], [], []
        for k, (picture, at, view) in enumerate(views(self._rng, image, box, self._size, VIEWS)):
            read = self._read(picture, view)
            row = np.array([[[0, *at, 1, 1]]], np.float32)  # (1, 1, Truth.COLUMNS)
            truth = self._cells.truth(row)
            heat = truth.heat.reshape(-1)  # (R * C,)
            on = heat > LEAST_PRESENCE
            off = np.flatnonzero(~around(self._cells, at))
            off = self._rng.permutation(off)[:OUTSIDE]
            inside.append(read[on].astype(np.float16))
            presence.append(heat[on])
            boxes.append(box_answers(self._cells, at)[on])
            outside.append(read[off][:, VALUES].astype(np.float16))
            number.append(np.full(int(on.sum()), k))
        return Example(
            np.concatenate(number),
            np.concatenate(inside),
            np.concatenate(presence),
            np.concatenate(boxes),
            np.concatenate(outside),
        )


def checked_box(box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return a box x, y, w, h cut at the border of an image of `size` (rows, cols).

    Parameters
    ----------
    box
        x, y, w, h, px.
    size
        Rows and columns of the image.

    Raises
    ------
    PvmError
        It is not four finite numbers, or less than a few pixels of it lie in the image.
    """
    try:
        x, y, w, h = map(float, box)
    except (TypeError, ValueError):
        x = y = w = h = math.nan
    if not all(map(math.isfinite, (x, y, w, h))):
        raise PvmError("a taught box must be four finite numbers: x, y, width and height in pixels")
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + w, size[1]), min(y + h, size[0])
    if min(right - left, bottom - top) < LEAST_SIDE:
        raise PvmError(
            f"the taught box {x:g}, {y:g}, {w:g}, {h:g} has less than {LEAST_SIDE:g} px each way in the "
            f"{size[1]}x{size[0]} image"
        )
    return left, top, right - left, bottom - top


def views(
    rng: np.random.Generator,
    image: Images,
    box: tuple[float, float, float, float],
    network: tuple[int, int],
    count: int,
) -> Iterator[tuple[Images, npt.NDArray[np.float64], View]]:
    """Yield pictures of a box as a camera may see it, nearer, further, mirrored and in other light.

    Parameters
    ----------
    rng
        Draws how the camera sees it.
    image
        (H, W, 3) uint8, BGR.
    box
        x, y, w, h in the image, px.
    network
        Rows and columns of the network's input.
    count
        How many pictures.

    Yields
    ------
    picture, box, view
        An image, the part of it that a network of (rows, cols) sees, and the box there, (4,) network px.
    """
    rows, cols = image.shape[:2]
    fit_scale = View.fit((rows, cols), network).scale
    for k in range(count):
        x, y, w, h = box
        picture: Images = image
        if k % 2:
            picture, x = image[:, ::-1], cols - x - w
        # evenly over the sizes, so that few views cover them all
        share = (k + rng.uniform()) / count
        side = SIDES[0] * (SIDES[1] / SIDES[0]) ** share
        scale = side / max(w, h)
        picture = relit(rng, picture)
        if scale < fit_scale:
            shrunk = scale / fit_scale
            small = cv2.resize(picture, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
            down, right = rows - small.shape[0], cols - small.shape[1]
            top, left = int(rng.integers(down + 1)), int(rng.integers(right + 1))
            picture = cv2.copyMakeBorder(
                small, top, down - top, left, right - left, cv2.BORDER_CONSTANT, value=(BAR, BAR, BAR)
            ).astype(np.uint8, copy=False)
            x, y, w, h = x * shrunk + left, y * shrunk + top, w * shrunk, h * shrunk
            view = View.fit((rows, cols), network)
        else:
            room = np.maximum(np.array(network[::-1]) / scale - (w, h), 0)  # px that the window may move
            centre = np.array([x + w / 2, y + h / 2]) + rng.uniform(-0.45, 0.45, 2) * room
            view = View.window((rows, cols), network, (float(centre[0]), float(centre[1])), scale)
        yield picture, view.to_network(np.array([x, y, w, h])), view


def relit(rng: np.random.Generator, image: Images) -> Images:
    """Return an image in other light.

    Parameters
    ----------
    rng
        Draws the light.
    image
        (H, W, 3) uint8, BGR; stays as it is.
    """
    level = np.linspace(0, 1, 256)[:, None] ** math.exp(rng.normal(0, GAMMA))  # (256, 1)
    gains = np.exp(rng.normal(0, GAIN) + rng.normal(0, TINT, 3))  # (3,)
    table = np.clip(level * gains * 255, 0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image), table.reshape(1, 256, 3)).astype(np.uint8, copy=False)


def around(cells: Cells, box: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which cells, (R * C,), lie on a box or beside it.

    Parameters
    ----------
    cells
        The grid.
    box
        (4,) x, y, w, h, network px.
    """
    x, y, w, h = box
    away = np.abs(cells.middles - (x + w / 2, y + h / 2))  # (R * C, 2)
    return (away < np.array([w, h]) / 2 + cells.pitch).all(axis=1)


def box_answers(cells: Cells, box: npt.NDArray[np.float64]) -> Floats:
    """Return what cells should answer about a box, (R * C, 4).

    Parameters
    ----------
    cells
        The grid.
    box
        (4,) x, y, w, h, network px.
    """
    x, y, w, h = box
    away = ((x + w / 2, y + h / 2) - cells.middles) / cells.pitch  # (R * C, 2)
    sizes = np.log(np.array([w, h]) / UNIT_BOX)
    answers: Floats = np.concatenate([away, np.broadcast_to(sizes, away.shape)], axis=1).astype(np.float32)
    return answers
