"""Places: photographs where there are some, and painted outdoors, indoors, walls and clutter."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pvm_perception.streams.scenes.paint import Rng, any_colour, blob, drawn, hsv, noise


def _photo(rng: Rng, rows: int, cols: int, photos: Sequence[np.ndarray]) -> np.ndarray:
    photo = photos[int(rng.integers(len(photos)))]
    least = max(rows / photo.shape[0], cols / photo.shape[1])
    zoom = max(least * rng.uniform(1.0, 3.0), least)
    h, w = min(int(rows / zoom), photo.shape[0]), min(int(cols / zoom), photo.shape[1])
    picture = part_of(rng, photo, (h, w), (rows, cols), cv2.INTER_LINEAR).astype(np.float32) / 255
    if rng.random() < 0.5:
        picture = picture * rng.uniform(0.6, 1.3, 3).astype(np.float32)
    return picture


def part_of(
    rng: Rng, photo: np.ndarray, part: tuple[int, int], size: tuple[int, int], interpolation: int
) -> np.ndarray:
    """Return some part of a photograph, mirrored or not.

    Parameters
    ----------
    rng
        Draws where it lies.
    photo
        (H, W, 3) uint8.
    part
        (h, w) pixels of the photograph, at most its size.
    size
        (rows, cols) of the result.
    interpolation
        Of OpenCV's, by which the part is brought to that size.

    Returns
    -------
    ndarray
        (rows, cols, 3) uint8.
    """
    y, x = (int(rng.integers(n - m + 1)) for n, m in zip(photo.shape[:2], part, strict=True))
    seen = cv2.resize(photo[y : y + part[0], x : x + part[1]], size[::-1], interpolation=interpolation)
    return seen[:, ::-1] if rng.random() < 0.5 else seen


def texture(rng: Rng, rows: int, cols: int) -> np.ndarray:
    """Return a flat material: speckle, brick, tile, plank, cloth, grass, stripes.

    Parameters
    ----------
    rng
        Draws the material and its colours.
    rows, cols
        Size, pixels.

    Returns
    -------
    ndarray
        (rows, cols, 3) float32 BGR, 0..1.
    """
    base, other = any_colour(rng), any_colour(rng)
    if rng.random() < 0.6:
        base = hsv(rng.uniform(15, 60), rng.uniform(0, 0.4), rng.uniform(0.2, 1))
        other = base * rng.uniform(0.4, 1.2)
    kind = rng.integers(7)
    rough = noise(rng, rows, cols, rng.uniform(0.02, 0.5), 4)[..., None]
    picture = base * (1 + rng.uniform(0.02, 0.3) * rough)
    y, x = np.mgrid[:rows, :cols].astype(np.float32)
    cell = rng.uniform(0.04, 0.25) * cols
    if kind in (0, 1):  # bricks and tiles
        wide, gap = cell * rng.uniform(1, 2.5), max(1.0, cell * rng.uniform(0.03, 0.12))
        row = np.floor(y / cell)
        shift = row * (wide / 2 if kind == 0 else 0)
        joint = ((y % cell) < gap) | (((x + shift) % wide) < gap)
        each = np.sin(row * 12.9 + np.floor((x + shift) / wide) * 78.2) * 0.12
        if rng.random() < 0.2:  # a red wall is a look-alike
            base = hsv(rng.uniform(0, 20), rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.8))
            picture = base * (1 + 0.1 * rough)
        picture = picture * (1 + each[..., None])
        picture = np.where(joint[..., None], other * 0.9, picture)
    elif kind == 2:  # planks
        each = np.sin(np.floor(y / cell) * 37.7) * 0.15
        grain = noise(rng, rows, max(2, cols // 8), 0.03, 3)
        grain = cv2.resize(grain, (cols, rows))
        picture = picture * (1 + each + 0.15 * grain)[..., None]
    elif kind == 3:  # grass, foliage: often green
        base = hsv(rng.uniform(60, 130), rng.uniform(0.3, 0.9), rng.uniform(0.25, 0.8))
        blades = noise(rng, rows, cols, 0.03, 3)[..., None]
        picture = base * (0.9 + 0.3 * blades + 0.15 * rough)
    elif kind == 4:  # checks
        check = (np.floor(x / cell) + np.floor(y / cell)) % 2
        picture = np.where(check[..., None] > 0, picture, other * (1 + 0.1 * rough))
    elif kind == 5:  # folds of cloth
        fold = noise(rng, rows, cols, rng.uniform(0.2, 0.6), 2)
        picture = picture * (1 + 0.25 * np.sin(4 * fold))[..., None]
    return np.clip(picture, 0, 1).astype(np.float32)


def _ground(rng: Rng, rows: int, cols: int, picture: np.ndarray, horizon: int) -> None:
    """Lay a texture in perspective below the horizon."""
    flat = texture(rng, 256, 256)
    below = rows - horizon
    inset = cols * rng.uniform(0.2, 0.46)
    source = np.array([[0, 0], [256, 0], [256, 256], [0, 256]], np.float32)
    target = np.array([[inset, 0], [cols - inset, 0], [cols * 1.8, below], [-cols * 0.8, below]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    ground = cv2.warpPerspective(
        flat, matrix, (cols, below), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    picture[horizon:] = ground
    if rng.random() < 0.3:  # road markings
        for side in (-1, 1):
            foot = cols * (0.5 + side * rng.uniform(0.1, 0.7))
            points = np.array([[cols / 2, horizon], [foot, rows], [foot + cols * 0.04, rows]])
            cv2.fillPoly(picture, [points.astype(np.int32)], [0.85, 0.9, 0.9], cv2.LINE_AA)


def _outdoors(rng: Rng, rows: int, cols: int) -> np.ndarray:
    horizon = int(rows * rng.uniform(0.3, 0.65))
    top = hsv(rng.uniform(195, 225), rng.uniform(0, 0.7), rng.uniform(0.5, 1))
    low = hsv(rng.uniform(20, 220), rng.uniform(0, 0.25), rng.uniform(0.7, 1))
    ramp = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(top * (1 - ramp) + low * ramp, (rows, cols, 3)).copy()
    if rng.random() < 0.7:
        cloud = np.clip(noise(rng, rows, cols, rng.uniform(0.2, 0.8), 4) - rng.uniform(-0.5, 1), 0, 1)
        picture += (cloud * rng.uniform(-0.3, 0.5))[..., None]
    for _ in range(int(rng.integers(0, 7))):  # houses
        w, h = int(cols * rng.uniform(0.08, 0.35)), int(rows * rng.uniform(0.08, 0.4))
        x = int(rng.integers(-w, cols))
        colour = hsv(rng.uniform(0, 60), rng.uniform(0, 0.6), rng.uniform(0.2, 0.95))
        cv2.rectangle(picture, (x, horizon - h), (x + w, horizon), colour.tolist(), -1)
        if rng.random() < 0.4:
            roof = np.array(
                [[x - 4, horizon - h], [x + w // 2, horizon - int(h * 1.4)], [x + w + 4, horizon - h]]
            )
            cv2.fillPoly(picture, [roof], hsv(rng.uniform(0, 25), 0.6, 0.6).tolist(), cv2.LINE_AA)
        pane = (colour * rng.uniform(0.2, 1.3)).tolist()
        step = max(6, int(w * rng.uniform(0.15, 0.4)))
        for u in range(x + step // 3, x + w - step // 3, step):
            for v in range(horizon - h + step // 3, horizon - step // 2, step):
                cv2.rectangle(picture, (u, v), (u + step // 2, v + step // 2), pane, -1)
    _ground(rng, rows, cols, picture, horizon)
    if rng.random() < 0.75:
        _trees(rng, picture, horizon)
    return picture


def _trees(rng: Rng, picture: np.ndarray, horizon: int) -> None:
    """Paint leaves by thresholded noise, and bare branches."""
    rows, cols = picture.shape[:2]
    leaf = noise(rng, rows, cols, rng.uniform(0.03, 0.08), 3)
    clump = noise(rng, rows, cols, rng.uniform(0.2, 0.5), 2)
    height = np.abs(np.arange(rows) - horizon + rows * rng.uniform(0, 0.2))[:, None] / rows
    mask = leaf * 0.7 + clump * 1.2 - height * rng.uniform(2, 6) > rng.uniform(-0.4, 0.6)
    hue = rng.uniform(60, 140) if rng.random() < 0.7 else rng.uniform(10, 60)
    colour = hsv(hue, rng.uniform(0.2, 0.9), rng.uniform(0.15, 0.7))
    paint = colour * np.clip(0.8 + 0.35 * noise(rng, rows, cols, 0.02, 2), 0.1, 2)[..., None]
    picture[mask] = paint[mask]
    for _ in range(int(rng.integers(0, 8))):
        at = np.array([rng.uniform(0, cols), horizon], float)
        direction = np.array([rng.normal(0, 0.3), -1.0])
        width = rng.uniform(2, 9)
        for _ in range(6):
            end = at + direction * rows * rng.uniform(0.05, 0.13)
            cv2.line(
                picture,
                tuple(at.astype(int).tolist()),
                tuple(end.astype(int).tolist()),
                [0.12, 0.15, 0.2],
                max(1, int(width)),
                cv2.LINE_AA,
            )
            at, direction, width = end, direction + rng.normal(0, 0.35, 2), width * 0.75


def _indoors(rng: Rng, rows: int, cols: int) -> np.ndarray:
    wall = hsv(rng.uniform(0, 360), rng.uniform(0, 0.3), rng.uniform(0.3, 1))
    light = 1 + rng.uniform(0, 0.3) * noise(rng, rows, cols, 0.9, 2)[..., None]
    picture = (wall * light).astype(np.float32)
    floor = int(rows * rng.uniform(0.4, 0.8))
    _ground(rng, rows, cols, picture, floor)
    for _ in range(int(rng.integers(1, 9))):  # doors, windows, cupboards, pictures, lamps
        w, h = int(cols * rng.uniform(0.05, 0.3)), int(rows * rng.uniform(0.05, 0.5))
        x, y = int(rng.integers(0, cols)), int(rng.integers(0, max(1, floor - h // 2)))
        cv2.rectangle(picture, (x, y), (x + w, y + h), any_colour(rng).tolist(), -1)
        if rng.random() < 0.5:
            cv2.rectangle(picture, (x, y), (x + w, y + h), any_colour(rng).tolist(), int(rng.integers(1, 6)))
    return picture


def _plain(rng: Rng, rows: int, cols: int) -> np.ndarray:
    colour = hsv(rng.uniform(0, 360), rng.uniform(0, 0.45), rng.uniform(0.15, 1))
    light = 1 + rng.uniform(0.05, 0.4) * noise(rng, rows, cols, rng.uniform(0.5, 1), 1)
    rough = rng.uniform(0, 0.06) * noise(rng, rows, cols, 0.02, 2)
    return (colour * (light + rough)[..., None]).astype(np.float32)


def _clutter(rng: Rng, rows: int, cols: int) -> np.ndarray:
    picture = texture(rng, rows, cols)
    for _ in range(int(rng.integers(10, 60))):
        size = rng.uniform(0.02, 0.4) * cols
        points = blob(rng, 1, rng.uniform(0, 0.6), int(rng.integers(3, 12))) * size
        points += rng.uniform(-size, [cols, rows])
        cv2.fillPoly(picture, [points.astype(np.int32)], any_colour(rng).tolist(), cv2.LINE_AA)
    return picture


def _stuff(rng: Rng, rows: int, cols: int) -> np.ndarray:
    """Return colour noise: nothing that one could name."""
    mean, spread = any_colour(rng), rng.uniform(0.05, 0.3)
    return mean + spread * noise(rng, rows, cols, rng.uniform(0.05, 0.6), 4, 3)


def _busy(rng: Rng, rows: int, cols: int) -> np.ndarray:
    """Return a place full of small sharp things: a street, a site, a shelf."""
    picture = np.ascontiguousarray(
        (_outdoors, _indoors, texture)[int(rng.integers(3))](rng, rows, cols), np.float32
    )
    palette = [any_colour(rng) * np.float32(rng.uniform(0.2, 1)) for _ in range(8)]
    for _ in range(int(rng.integers(30, 160))):
        size = cols * float(np.exp(rng.uniform(np.log(0.004), np.log(0.08))))
        x, y = (rng.uniform(0, 1, 2) * [cols, rows]).astype(int).tolist()
        colour = (palette[int(rng.integers(8))] * np.float32(rng.uniform(0.7, 1.3))).tolist()
        kind, long = rng.random(), int(size * rng.uniform(1, 12))
        if kind < 0.35:
            cv2.rectangle(picture, (x, y), (x + int(size), y + int(size * rng.uniform(0.3, 3))), colour, -1)
        elif kind < 0.6:  # poles and rails
            end = (x, y + long) if rng.random() < 0.7 else (x + long, y)
            cv2.line(picture, (x, y), end, colour, max(1, int(size * 0.15)), cv2.LINE_AA)
        elif kind < 0.8:
            end = (x + int(long * rng.uniform(-1, 1)), y + int(long * rng.uniform(-1, 1)))
            cv2.line(picture, (x, y), end, colour, max(1, int(size * 0.08)), cv2.LINE_AA)
        elif kind < 0.92:
            cv2.circle(picture, (x, y), max(1, int(size / 2)), colour, -1, cv2.LINE_AA)
        else:
            step = max(2, int(size / 3))
            for k in range(int(rng.integers(3, 9))):
                cv2.line(picture, (x + k * step, y), (x + k * step, y + int(size)), colour, max(1, step // 2))
    return picture


def _collage(rng: Rng, rows: int, cols: int, photos: Sequence[np.ndarray]) -> np.ndarray:
    """Return photographs laid over each other in pieces, as finely grained as the real world."""
    picture = _photo(rng, rows, cols, photos)
    for _ in range(int(rng.integers(3, 25))):
        h, w = (np.exp(rng.uniform(np.log(0.08), np.log(0.5), 2)) * [rows, cols]).astype(int) + 4
        y, x = int(rng.integers(rows - h + 1)), int(rng.integers(cols - w + 1))
        picture[y : y + h, x : x + w] = _photo(rng, int(h), int(w), photos)
    return picture


# (painter, how often)
PLACES = (
    (_outdoors, 4.0),
    (_indoors, 3.0),
    (texture, 2.0),
    (_plain, 2.0),
    (_clutter, 1.5),
    (_stuff, 1.0),
    (_busy, 4.0),
)


def background(
    rng: Rng, rows: int, cols: int, photos: Sequence[np.ndarray] | None, real: bool = False
) -> np.ndarray:
    """Return a place: somewhat more than half of them photographs where there are any.

    Parameters
    ----------
    rng
        Draws the place.
    rows, cols
        Size, pixels.
    photos
        (H, W, 3) uint8 each; None and an empty list stand for none.
    real
        Whether to take a photograph in any case, where there are some.

    Returns
    -------
    ndarray
        (rows, cols, 3) uint8 BGR.
    """
    if photos and (real or rng.random() < 0.55):
        painter = _collage if rng.random() < 0.45 else _photo
        picture = painter(rng, rows, cols, photos)
    else:
        # often at half size: places can be soft, and most of a clip's cost would lie here
        painter = drawn(rng, PLACES)
        soft = 1 if rng.random() < 0.4 else 2
        picture = painter(rng, rows // soft, cols // soft)
    picture = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    if picture.shape[:2] != (rows, cols):
        picture = cv2.resize(picture, (cols, rows), interpolation=cv2.INTER_LINEAR)
    return picture
