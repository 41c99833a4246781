"""Road signs: stop signs, the target, and every other sign that shares a colour or a shape."""

from __future__ import annotations

import cv2
import numpy as np

from pvm_perception.streams.scenes.paint import (
    Rng,
    hsv,
    opaque,
    polygon_mask,
    put_heavy_text,
    put_text,
    trim,
)
from pvm_perception.streams.scenes.plates import WHITE, badge_green, pictogram, turned, wear


def letter_strokes(letter: str) -> list[np.ndarray]:
    """Return a letter's strokes as polylines in a box 0..1 wide and 0..1 high.

    Drawn after the proportions of road lettering: tall, one stroke width, round turns.
    """

    def arc(cx: float, cy: float, rx: float, ry: float, start: float, end: float) -> np.ndarray:
        a = np.radians(np.linspace(start, end, 14))
        return np.stack([cx + rx * np.cos(a), cy + ry * np.sin(a)], 1)

    def line(*points: tuple[float, float]) -> np.ndarray:
        return np.array(points, float)

    shapes = {
        "S": [np.concatenate([arc(0.5, 0.26, 0.5, 0.26, -20, -270), arc(0.5, 0.75, 0.5, 0.25, -90, 160)])],
        "T": [line((0, 0), (1, 0)), line((0.5, 0), (0.5, 1))],
        "O": [
            np.concatenate(
                [arc(0.5, 0.3, 0.5, 0.3, 180, 360), arc(0.5, 0.7, 0.5, 0.3, 0, 180), line((0, 0.3))]
            )
        ],
        "P": [
            line((0, 1), (0, 0), (0.55, 0)),
            np.concatenate([line((0.55, 0)), arc(0.6, 0.27, 0.4, 0.27, -90, 90), line((0, 0.54))]),
        ],
        "A": [line((0, 1), (0.5, 0), (1, 1)), line((0.2, 0.65), (0.8, 0.65))],
        "L": [line((0, 0), (0, 1), (1, 1))],
        "R": [
            line((0, 1), (0, 0), (0.55, 0)),
            np.concatenate([line((0.55, 0)), arc(0.6, 0.25, 0.4, 0.25, -90, 90), line((0, 0.5))]),
            line((0.5, 0.5), (1, 1)),
        ],
        "E": [line((1, 0), (0, 0), (0, 1), (1, 1)), line((0, 0.5), (0.8, 0.5))],
    }
    return shapes[letter]


def write(
    canvas: np.ndarray, text: str, box: tuple[float, float, float, float], stroke: float, colour: np.ndarray
) -> None:
    """Write in strokes into a box.

    Parameters
    ----------
    canvas
        (H, W, 3) float32 BGR in 0..1, which is written on.
    text
        Letters that `letter_strokes` knows.
    box
        x, y, w, h, pixels.
    stroke
        Thickness of the strokes, pixels.
    colour
        (3,) BGR in 0..1.
    """
    x, y, w, h = box
    pitch = w / (len(text) * 1.0 - 0.28)
    for k, letter in enumerate(text):
        for points in letter_strokes(letter):
            at = np.round((points * [pitch * 0.72, h] + [x + k * pitch, y]) * 16).astype(np.int32)
            cv2.polylines(
                canvas, [at], False, [float(c) for c in colour], max(1, round(stroke)), cv2.LINE_AA, 4
            )


def sign_red(rng: Rng) -> np.ndarray:
    """Return a sign's red: fresh, dark, faded to pink, or leaning to orange."""
    kind = rng.random()
    if kind < 0.6:
        return hsv(rng.uniform(-12, 6), rng.uniform(0.75, 1), rng.uniform(0.5, 0.95))
    if kind < 0.8:
        return hsv(rng.uniform(-16, 6), rng.uniform(0.6, 1), rng.uniform(0.25, 0.55))
    if kind < 0.93:
        return hsv(rng.uniform(-15, 15), rng.uniform(0.35, 0.7), rng.uniform(0.6, 1))
    return hsv(rng.uniform(5, 16), rng.uniform(0.7, 1), rng.uniform(0.6, 1))


def octagon(size: float, side: float) -> np.ndarray:
    """Return the corners of an upright octagon in the middle of a square, (8, 2) x, y.

    Parameters
    ----------
    size
        Side of the square, pixels.
    side
        How wide the octagon is, pixels.
    """
    angle = np.radians(22.5 + 45 * np.arange(8))
    radius = side / 2 / np.cos(np.radians(22.5))
    return size / 2 + radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def stop_sign(rng: Rng, size: int, askew: bool = True) -> np.ndarray:
    """Return the sprite of one stop sign, white rim included.

    Parameters
    ----------
    rng
        Draws its make, its lettering and its wear.
    size
        Its width as painted, pixels.
    askew
        Whether it is seen from anywhere in front of it; else as it was painted.
    """
    big = size * 2
    canvas = np.zeros((big, big, 3), np.float32)
    red, white = sign_red(rng), WHITE * np.float32(rng.uniform(0.75, 1.05))
    outer = polygon_mask((big, big), octagon(big, big * 0.97))
    rim = rng.uniform(0.02, 0.075) if rng.random() < 0.9 else 0.0
    inner = polygon_mask((big, big), octagon(big, big * (0.97 - 2 * rim)))[..., None]
    canvas[:] = white
    canvas = canvas * (1 - inner) + red * inner
    text = "STOP" if rng.random() < 0.96 else str(rng.choice(["PARE", "ALTO"]))
    height = rng.uniform(0.27, 0.42)
    width = rng.uniform(0.62, 0.8)
    x, y = (1 - width) / 2, 0.5 - height / 2 + rng.uniform(-0.02, 0.02)
    lettering = rng.random()
    if lettering < 0.4:
        put_heavy_text(
            canvas, text, (x * big, y * big, width * big, height * big), int(rng.integers(400, 900)), white
        )
    elif lettering < 0.85:
        write(
            canvas,
            text,
            (x * big, y * big, width * big, height * big),
            rng.uniform(0.032, 0.062) * big,
            white,
        )
    else:
        font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX]))
        scale = width * big / cv2.getTextSize(text, font, 1, 2)[0][0]
        put_text(
            canvas, text, (int(x * big), int((0.5 + 0.11) * big)), font, scale, white, max(1, int(0.03 * big))
        )
    sprite = opaque(canvas, outer)
    sprite = cv2.resize(sprite, (size, size), interpolation=cv2.INTER_AREA)
    wear(rng, sprite)
    return turned(rng, sprite, 0.3) if askew else trim(sprite)


def _lines(rng: Rng, canvas: np.ndarray, ink: np.ndarray) -> None:
    """Write up to three lines of letters on a canvas (N, N, 3)."""
    big, lines = len(canvas), int(rng.integers(4))
    for k in range(lines):
        word = "".join(rng.choice(list("ABEHKLMNORSTUX"), int(rng.integers(2, 7))))
        y, high = 0.5 + (k - lines / 2) * 0.7 / lines, rng.uniform(0.3, 0.6) / lines
        put_heavy_text(
            canvas,
            word,
            (big * 0.12, big * y, big * rng.uniform(0.5, 0.76), big * high),
            int(rng.integers(300, 900)),
            ink,
        )


def other_sign(rng: Rng, size: int, askew: bool = True) -> np.ndarray:
    """Return a sign that is no stop sign: no entry, yield, limits, discs, boards.

    Parameters
    ----------
    rng
        Draws its kind, its colours and its wear.
    size, askew
        As for `stop_sign`.
    """
    big = size * 2
    red = sign_red(rng)
    white = WHITE * np.float32(rng.uniform(0.75, 1.05))
    blue = hsv(rng.uniform(205, 230), rng.uniform(0.6, 1), rng.uniform(0.4, 0.9))
    canvas = np.empty((big, big, 3), np.float32)
    centre, r = (big // 2, big // 2), int(big * 0.485)

    def disc(colour: np.ndarray, radius: float) -> None:
        cv2.circle(canvas, centre, int(radius), [float(c) for c in colour], -1, cv2.LINE_AA)

    round_mask = np.zeros((big, big), np.uint8)
    cv2.circle(round_mask, centre, r, 255, -1, cv2.LINE_AA)
    mask: np.ndarray = round_mask.astype(np.float32) / 255
    square = np.zeros((big, big), np.float32)
    h = rng.uniform(0.4, 1.0)
    square[int(big * (0.5 - h / 2)) : int(big * (0.5 + h / 2)), :] = 1
    kind = rng.integers(11) % 9  # the first two twice as often
    canvas[:] = white
    if kind in (0, 1):  # no entry: a stop sign's nearest kin
        disc(white if rng.random() < 0.5 else red, r)
        disc(red, r * rng.uniform(0.9, 0.99))
        w, t = rng.uniform(0.55, 0.75), rng.uniform(0.1, 0.2)
        cv2.rectangle(
            canvas,
            (int(big * (0.5 - w / 2)), int(big * (0.5 - t / 2))),
            (int(big * (0.5 + w / 2)), int(big * (0.5 + t / 2))),
            [float(c) for c in white],
            -1,
            cv2.LINE_AA,
        )
    elif kind in (2, 3):  # limits and prohibitions
        disc(red, r)
        disc(white, r * rng.uniform(0.68, 0.86))
        if rng.random() < 0.7:
            number = str(rng.integers(1, 13) * 10)
            scale = big * 0.5 / cv2.getTextSize(number, 0, 1, 2)[0][0]
            put_text(
                canvas,
                number,
                (int(big * 0.25), int(big * 0.62)),
                0,
                scale,
                np.zeros(3) + 0.05,
                max(1, int(0.06 * big)),
            )
        else:
            cv2.line(
                canvas,
                (int(big * 0.25), int(big * 0.25)),
                (int(big * 0.75), int(big * 0.75)),
                [float(c) for c in red],
                max(1, int(0.08 * big)),
                cv2.LINE_AA,
            )
    elif kind == 4:  # yield, warning
        up = rng.random() < 0.4
        points = np.array([[0.02, 0.05], [0.98, 0.05], [0.5, 0.93]]) * big
        if up:
            points[:, 1] = big - points[:, 1]
        mask = polygon_mask((big, big), points)
        canvas[:] = red
        middle = points.mean(0)
        inside = polygon_mask((big, big), middle + (points - middle) * rng.uniform(0.5, 0.75))
        canvas = canvas * (1 - inside[..., None]) + white * inside[..., None]
    elif kind == 5:  # blue or green disc with an arrow or a picture, half of them on a board
        radius = float(r)
        if rng.random() < 0.5:
            mask, radius = np.ones_like(square), r * rng.uniform(0.5, 0.85)
        disc(blue if rng.random() < 0.6 else badge_green(rng), radius)
        pictogram(rng, canvas, radius, white)
    elif kind == 6:  # board or badge with writing, or with none
        mask = square if rng.random() < 0.6 else mask
        green = hsv(rng.uniform(75, 170), rng.uniform(0.4, 1), rng.uniform(0.2, 0.9))
        paints = [(red, white), (white, red), (blue, white), (green, white), (green, green * 0.2)]
        ground, ink = paints[int(rng.choice(5, p=[0.4, 0.15, 0.1, 0.25, 0.1]))]
        canvas[:] = ground
        _lines(rng, canvas, ink)
    elif kind == 7:  # orange or yellow diamond
        mask = polygon_mask((big, big), np.array([[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]]) * big)
        canvas[:] = hsv(rng.uniform(18, 50), rng.uniform(0.7, 1), rng.uniform(0.6, 1))
        disc(np.array([0.05, 0.05, 0.05], np.float32), r * rng.uniform(0.1, 0.35))
    else:  # white or grey plate
        mask = square
        canvas[:] = white * rng.uniform(0.5, 1)
        put_text(
            canvas,
            "".join(rng.choice(list("abcdeghkmnorstu"), 6)),
            (int(big * 0.08), int(big * 0.55)),
            0,
            big * 0.006,
            np.zeros(3) + 0.1,
            max(1, int(0.03 * big)),
        )
    sprite = cv2.resize(opaque(canvas, mask), (size, size), interpolation=cv2.INTER_AREA)
    wear(rng, sprite)
    return turned(rng, sprite, 0.0) if askew else trim(sprite)
