"""Light that changes, and what a camera makes of it.

Scenes are lit and blurred in linear light, as a lens does it: a bright wall eats into the blur of a
dark ball. The square of a picture's value stands for its linear light.
"""

from __future__ import annotations

import cv2
import numpy as np

from pvm_perception.streams.scenes.paint import Rng, blob, hsv, noise

COARSE = 0.3  # share of the cameras that have fewer pixels than the picture
GREY = 0.45  # mean level that automatic exposure seeks
EXPOSURES = (0.5, 2.5)  # what it can do
TIDE = 12.0  # frames in which light that drifts turns back, over pi
_BANK = np.random.default_rng(7).standard_normal(1 << 20, np.float32)  # sensor noise, drawn once


class Light:
    """Illumination over a clip: a map that multiplies linear light, (rows, cols, 3) float32.

    Parameters
    ----------
    rng
        Draws the light and how it changes.
    rows, cols
        Size of the map, pixels.
    hard
        How hard the scene is, 0..1: the more, the likelier are shadows and sudden changes.
    """

    def __init__(self, rng: Rng, rows: int, cols: int, hard: float) -> None:
        self.size = (rows, cols)
        self.small = (rows // 2, cols // 2)
        self.shadow = None
        if rng.random() < 0.45 * hard + 0.1:
            self.shadow = self._shadow(rng)
            self.at = rng.uniform(-0.5, 0.5, 2) * 256
            self.speed = rng.normal(0, 7, 2)
            self.zoom = rng.uniform(0.6, 2.0)
            self.depth = rng.uniform(0.25, 0.8)
        angle, slope = rng.uniform(0, 6.3), rng.uniform(0, 0.5) * (rng.random() < 0.5)
        y, x = np.mgrid[-1 : 1 : self.small[0] * 1j, -1 : 1 : self.small[1] * 1j].astype(np.float32)
        self.base = 1 + slope * (np.cos(angle) * x + np.sin(angle) * y)
        if rng.random() < 0.12:  # a lamp's cone or a low sun
            at, wide = rng.uniform(-1, 1, 2), rng.uniform(0.2, 0.8)
            cone = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / wide**2)
            self.base = self.base * rng.uniform(0.4, 1) + rng.uniform(0.2, 1.0) * cone
        if rng.random() < 0.3:
            self.base = self.base * (1 - rng.uniform(0, 0.4) * (x * x + y * y) / 2)
        self.gain = rng.uniform(0.75, 1.2)
        if rng.random() < 0.15:
            self.gain *= rng.uniform(0.25, 0.7)  # dusk, deep shade
        elif rng.random() < 0.1:
            self.gain *= rng.uniform(1.2, 1.8)
        self.drift = rng.normal(0, 0.03) * hard
        self.flicker = (rng.uniform(0, 0.2) * (rng.random() < 0.15 * hard), rng.uniform(0.5, 3))
        self.step = (int(rng.integers(1, 12)), rng.uniform(0.35, 1.8)) if rng.random() < 0.1 * hard else None
        self.tint = hsv(rng.uniform(0, 360), rng.uniform(0, 0.2), 1.0)
        if rng.random() < 0.1:
            self.tint = hsv(rng.uniform(0, 360), rng.uniform(0.2, 0.45), 1.0)
        self.tint = self.tint / self.tint.mean()

    @staticmethod
    def _shadow(rng: Rng) -> np.ndarray:
        """Return a shadow's shape, (256, 256) float32, 1 = shade: bars, foliage, or a solid."""
        kind = rng.random()
        if kind < 0.4:  # leaves
            cast = noise(rng, 256, 256, rng.uniform(0.06, 0.25), 3) > rng.uniform(-0.5, 0.7)
        elif kind < 0.65:
            angle, k = rng.uniform(0, 6.3), rng.uniform(0.05, 0.25)
            y, x = np.mgrid[:256, :256]
            cast = np.sin(k * (np.cos(angle) * x + np.sin(angle) * y)) > rng.uniform(-0.6, 0.6)
        else:
            mask = np.zeros((256, 256), np.uint8)
            for _ in range(int(rng.integers(1, 4))):
                points = blob(
                    rng, int(rng.uniform(60, 200)), rng.uniform(0, 0.4), int(rng.integers(3, 14))
                ) + rng.uniform(-20, 130, 2)
                cv2.fillPoly(mask, [points.astype(np.int32)], 1)
            cast = mask > 0
        soft = rng.uniform(0.5, 9)
        return cv2.GaussianBlur(cast.astype(np.float32), (0, 0), soft)

    def at_frame(self, k: float) -> np.ndarray:
        """Return the map of frame `k`, (rows, cols, 3) float32."""
        light = self.base
        if self.shadow is not None:
            at = self.at + self.speed * k
            scale = self.zoom * 128 / self.small[1]
            matrix = np.array([[scale, 0, 64 + at[0]], [0, scale, 64 + at[1]]], np.float32)
            cast = cv2.warpAffine(
                self.shadow,
                matrix,
                self.small[::-1],
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_WRAP,
            )
            light = light * (1 - self.depth * cast)
        gain = self.gain * np.exp(self.drift * TIDE * np.sin(k / TIDE))
        gain *= 1 + self.flicker[0] * np.sin(self.flicker[1] * k)
        if self.step and k >= self.step[0]:
            gain *= self.step[1]
        light = cv2.resize(light.astype(np.float32) ** 2, self.size[::-1])
        return light[..., None] * (self.tint * np.float32(gain)) ** 2


class Camera:
    """Blur, tone, noise and compression of one clip's camera.

    Noise is new at each frame, or, as of a camera that filters over time and of compressed video, the same at
    all of them.

    Parameters
    ----------
    rng
        Draws the camera, and its noise.
    hard
        How hard the scene is, 0..1: the more, the likelier are blur and strong noise.
    coarse
        Probability that it has fewer pixels than the picture: a cheap camera, or a window enlarged from a
        frame.
    """

    def __init__(self, rng: Rng, hard: float, coarse: float = COARSE) -> None:
        self.rng = rng
        self.gamma = rng.uniform(0.7, 1.4)
        self.contrast = rng.uniform(0.75, 1.25)
        self.black = rng.uniform(-0.06, 0.08)
        self.saturation = rng.uniform(0.6, 1.35)
        self.defocus = rng.uniform(0.4, 2.2) if rng.random() < 0.3 * hard else 0.0
        self.noise = rng.exponential(0.015) if rng.random() < 0.75 else rng.uniform(0.03, 0.09) * hard
        self.chroma = rng.random() < 0.5
        self.pattern = rng.random() if rng.random() < 0.4 else None  # noise that stays where it is
        self.sharpen = rng.uniform(0.2, 1.2) if rng.random() < 0.4 else 0.0
        self.quality = int(rng.integers(25, 90)) if rng.random() < 0.3 else 0
        self.enlarge = rng.uniform(1.2, 3.0) if rng.random() < coarse else 1.0
        self.mosaic = rng.random() < 0.15  # colours interpolated from a Bayer pattern, cheaply
        self.adapts = rng.uniform(0.05, 0.4) if rng.random() < 0.3 else 0.0  # automatic exposure
        self.exposure: float | None = None
        table = np.linspace(0, 1.5, 1024, dtype=np.float32) ** np.float32(self.gamma)
        self.table = np.clip((table - 0.5) * self.contrast + 0.5 + self.black, 0, 1)

    def develop(self, frame: np.ndarray, light: np.ndarray) -> np.ndarray:
        """Return the picture that the camera takes of a scene, (H, W, 3) uint8.

        Parameters
        ----------
        frame
            (H, W, 3) linear light of the scene, 0..1.
        light
            Factors of it that broadcast to its shape.
        """
        size = frame.shape[1::-1]
        f = frame * light
        if self.adapts:
            f *= self._expose(float(f.mean()))
        if self.enlarge > 1:
            f = cv2.resize(f, None, fx=1 / self.enlarge, fy=1 / self.enlarge, interpolation=cv2.INTER_AREA)
        rows, cols = f.shape[:2]
        if self.defocus:
            f = cv2.GaussianBlur(f, (0, 0), self.defocus * rows / 144)
        np.sqrt(np.maximum(f, 0, out=f), out=f)
        if self.sharpen:
            f = np.maximum(f + self.sharpen * (f - cv2.GaussianBlur(f, (0, 0), 1.0)), 0)
        if abs(self.saturation - 1) > 0.05:
            grey = cv2.cvtColor(f, cv2.COLOR_BGR2GRAY)[..., None]
            f = np.maximum(grey + self.saturation * (f - grey), 0)
        f = self.table[np.minimum(f * np.float32(1023 / 1.5), 1023).astype(np.int16)]
        if self.noise > 0.002:
            count = rows * cols * (3 if self.chroma else 1)
            share = self.rng.random() if self.pattern is None else self.pattern
            start = int(share * (len(_BANK) - count)) if count < len(_BANK) else 0
            grain = np.resize(_BANK[start : start + count], (rows, cols, 3 if self.chroma else 1))
            f = f + np.float32(self.noise) * grain
        picture = (np.clip(f, 0, 1) * 255 + 0.5).astype(np.uint8)
        if self.mosaic:
            picture = _mosaic(picture)
        if self.quality:
            _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            picture = cv2.imdecode(code, cv2.IMREAD_COLOR)
        if self.enlarge > 1:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
        return picture

    def _expose(self, level: float) -> np.float32:
        """Return what to multiply this frame's light by, given its mean."""
        want = float(np.clip(GREY / max(level, 1e-6) ** 0.5, *EXPOSURES))
        self.exposure = (
            want if self.exposure is None else (self.exposure * (want / self.exposure) ** self.adapts)
        )
        return np.float32(self.exposure**2)


def linear(picture: np.ndarray) -> np.ndarray:
    """Return the linear light (H, W, 3) float32, 0..1, of a picture (H, W, 3) uint8."""
    f = picture.astype(np.float32)
    f *= np.float32(1 / 255)
    f *= f
    return f


def _mosaic(picture: np.ndarray) -> np.ndarray:
    """Return what is left of a picture (H, W, 3) uint8 after one colour a pixel was measured."""
    raw = picture[..., 1].copy()
    raw[::2, ::2], raw[1::2, 1::2] = picture[::2, ::2, 0], picture[1::2, 1::2, 2]
    return cv2.cvtColor(raw, cv2.COLOR_BayerBGGR2BGR)


def line_kernel(dx: float, dy: float) -> np.ndarray:
    """Return the kernel that smears a picture along a line, summing to 1.

    Parameters
    ----------
    dx, dy
        How far it moves while the shutter is open, pixels right and down.
    """
    side = int(max(abs(dx), abs(dy))) | 1
    side = max(side, 3)
    kernel: np.ndarray = np.zeros((side * 4, side * 4), np.float32)
    middle = np.array([side * 2, side * 2])
    half = np.array([dx, dy]) * 2
    cv2.line(
        kernel,
        tuple(np.round(middle - half).astype(int).tolist()),
        tuple(np.round(middle + half).astype(int).tolist()),
        1.0,
        4,
    )
    kernel = cv2.resize(kernel, (side, side), interpolation=cv2.INTER_AREA)
    return kernel / kernel.sum()
