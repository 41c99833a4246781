"""Pictures for people: boxes on a frame, maps as colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from pvm_perception.types import Box, Track

COLOURS = {"green_ball": (255, 0, 255), "stop_sign": (255, 255, 0)}  # BGR, unlike the targets
WHITE = (255, 255, 255)


def colour_of(target: str) -> tuple[int, int, int]:
    """Return the colour of a target's boxes, BGR 0..255."""
    return COLOURS.get(target, (0, 200, 255))


def draw_tracks(image: np.ndarray, tracks: Iterable[Track], truth: Sequence[Box] | None = None) -> np.ndarray:
    """Return a copy of a BGR image with boxes, ids and scores; the truth as a thin white box.

    Parameters
    ----------
    image
        (H, W, 3) uint8, BGR; stays as it is.
    tracks
        Boxes in its pixels.
    truth
        True boxes in its pixels.
    """
    picture = image.copy()
    thick = max(1, round(max(image.shape[:2]) / 320))
    for b in truth or ():
        draw_box(picture, (b.x, b.y, b.w, b.h), WHITE)
    for t in tracks:
        draw_box(
            picture, (t.x, t.y, t.w, t.h), colour_of(t.target), f"{t.target} {t.id} {t.score:.2f}", thick
        )
    return picture


def draw_box(
    picture: np.ndarray,
    box: tuple[float, float, float, float],
    colour: tuple[int, int, int],
    words: str = "",
    thick: int = 1,
) -> None:
    """Draw a box x, y, w, h (px) into a BGR picture, with words above it.

    Parameters
    ----------
    picture
        (H, W, 3) uint8, BGR, which is drawn into.
    box
        x, y, w, h, px.
    colour
        B, G, R, 0 to 255.
    words
        Written above it; empty for none.
    thick
        Width of its line, px.
    """
    x, y, w, h = box
    corner = round(x), round(y)
    cv2.rectangle(picture, corner, (round(x + w), round(y + h)), colour, thick)
    write(picture, words, (corner[0], max(12, corner[1] - 4)), colour, 0.4 * thick**0.5)


def write(
    picture: np.ndarray, words: str, place: tuple[int, int], colour: tuple[int, int, int], size: float = 0.4
) -> None:
    """Write a line into a BGR picture, with a shadow; `place` is where it begins, at its foot, px.

    Parameters
    ----------
    picture
        (H, W, 3) uint8, BGR, which is drawn into.
    words
        One line of ASCII.
    place
        x, y of its beginning, at its foot, px.
    colour
        B, G, R, 0 to 255.
    size
        Scale of OpenCV's letters, whose capitals are 22 px high at 1.
    """
    for shift, shade in ((1, (0, 0, 0)), (0, colour)):
        cv2.putText(
            picture,
            words,
            (place[0] + shift, place[1] + shift),
            cv2.FONT_HERSHEY_SIMPLEX,
            size,
            shade,
            1,
            cv2.LINE_AA,
        )


def beside(picture: np.ndarray, others: Mapping[str, np.ndarray | None]) -> np.ndarray:
    """Return a picture with others in a column at its right, each with its title.

    Parameters
    ----------
    picture
        (H, W, 3) uint8, BGR.
    others
        By title, (h, w, 3) uint8 BGR of any size, stretched to an equal part of the height; None stays black.
    """
    height = picture.shape[0] // max(len(others), 1)
    width = 2 * round(height * picture.shape[1] / picture.shape[0] / 2)  # codecs want even sides
    column = np.zeros((picture.shape[0], width, 3), np.uint8)
    for number, (title, other) in enumerate(others.items()):
        part = column[number * height : (number + 1) * height]
        if other is not None:
            part[:] = cv2.resize(other, (width, height), interpolation=cv2.INTER_NEAREST)
        write(part, title, (4, 14), WHITE)
    return np.hstack([picture, column])


def colour_map(values: np.ndarray, top: float = 1.0) -> np.ndarray:
    """Return (H, W) values from 0 to `top` as a BGR picture.

    Parameters
    ----------
    values
        (H, W) from 0 to `top`; what lies outside is cut there.
    top
        The value that gets the last colour.
    """
    scaled = np.clip(values * (255 / max(top, 1e-9)), 0, 255).astype(np.uint8)
    return cv2.applyColorMap(scaled, cv2.COLORMAP_TURBO)


def colour_wheel(moves: np.ndarray, top: float = 4.0) -> np.ndarray:
    """Return moves (H, W, 2), right and down, as a BGR picture: direction as hue, length as saturation.

    Right is red, down yellow-green, left cyan, up violet; white stands still, `top` and more is full colour.

    Parameters
    ----------
    moves
        (H, W, 2), px to the right and down.
    top
        Length, px, from which on a colour is full.
    """
    right, down = np.ascontiguousarray(np.asarray(moves, np.float32).transpose(2, 0, 1))
    length, angle = cv2.cartToPolar(right, down, angleInDegrees=True)
    saturation = np.clip(length / top, 0, 1)
    hsv = np.stack([angle, saturation, np.ones_like(saturation)], axis=2)
    return np.rint(255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)).astype(np.uint8)


def mosaic(codes: np.ndarray, top: float = 1.0) -> np.ndarray:
    """Return (rows, cols, N) codes as one grey picture: N maps side by side, row by row.

    Parameters
    ----------
    codes
        Each of the N places of a layer's code, over the layer's units.
    top
        The value shown as white; 0 is mid-grey, -top black. Lines between the maps are black.

    Returns
    -------
    (H, W) uint8, one pixel for each value.
    """
    rows, cols, n = codes.shape
    across = max(1, round((n * rows / cols) ** 0.5))  # as good as square
    down = -(-n // across)
    grid = np.zeros((down * across, rows + 1, cols + 1), np.uint8)
    grid[:n, :rows, :cols] = np.clip(codes.transpose(2, 0, 1) * (127.5 / top) + 127.5, 0, 255)
    grid = grid.reshape(down, across, rows + 1, cols + 1).transpose(0, 2, 1, 3)
    return grid.reshape(down * (rows + 1), across * (cols + 1))[:-1, :-1]
