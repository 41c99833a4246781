"""The five days: when they are, what light they have, how the robot drives and what the ball does."""

from __future__ import annotations

import math
from dataclasses import dataclass

from motion import Leg, Route

BACK = math.pi  # heading of who drives along -y


@dataclass(frozen=True)
class Light:
    """The light of a day.

    Attributes
    ----------
    sun : degrees above the horizon, and degrees from +y to the right
    strength : of the sun, W/m²
    colour : of the sun
    width : degrees, how large the sun is; larger has softer shadows
    sky : factor on the sky's light
    clouds : share of the sky that is cloudy
    exposure : stops of the camera
    """

    sun: tuple[float, float]
    strength: float
    colour: tuple[float, float, float]
    width: float
    sky: float
    clouds: float
    exposure: float


@dataclass(frozen=True)
class Day:
    """A scene of the film.

    Attributes
    ----------
    name : of the scene
    seconds : how long it lasts
    light, route : see there
    legs : what the ball does
    wet : 0 is dry, 1 is after a night of rain
    wind : degrees that the crowns sway
    """

    name: str
    seconds: float
    light: Light
    route: Route
    legs: tuple[Leg, ...]
    wet: float = 0.0
    wind: float = 1.0

    @property
    def night(self) -> bool:
        """Whether lamps and windows are lit."""
        return self.light.sky < 0.1


def _turns(first: float, until: float, heading: float, last: float, seconds: float) -> tuple:
    """Return turns: degrees off the heading at first, none from `until` on, then slowly to the last ones."""
    off = [(0.3, first), (until, 0.0), (seconds * 0.6, 0.0), (seconds, last)]
    return tuple((time, heading + math.radians(angle)) for time, angle in off)


DAYS = (
    Day(
        "noon",
        7.0,
        Light((56, -125), 6.5, (1, 0.95, 0.88), 0.6, 0.85, 0.5, 0.05),
        Route((0.9, 1.2), 0.85, _turns(28, 2.0, 0, -5, 7)),
        (
            Leg(1.3, (3.2, 7.6, 0.23), (-2.0, 0.74, 0)),
            Leg(4.5, (-1.95, 9.95, 0.11), (2.4, -1.75, 0)),
        ),
    ),
    Day(
        "shadow",
        7.0,
        Light((41, 97), 6.5, (1, 0.93, 0.82), 0.6, 0.85, 0.35, 0.1),
        Route((0.9, 21.4), 0.8, _turns(27, 1.9, BACK, -3, 7)),
        (
            Leg(1.5, (3.0, 16.9, 1.1), (-2.1, -0.5, 2.9)),
            Leg(4.2, (-2.9, 13.6, 1.2), (2.3, 0.5, 3.1)),
        ),
        wind=5.0,
    ),
    Day(
        "dusk",
        7.0,
        Light((4.5, -148), 1.6, (1, 0.5, 0.22), 0.8, 0.9, 0.45, 1.75),
        Route((0.1, 6.8), 0.65, _turns(0, 1.0, 0, -9, 7)),
        (
            Leg(0.9, (-0.75, 7.2, 0.11), (0.3, 2.3, 0)),
            Leg(4.4, (0.5, 13.0, 0.11), (-0.75, -1.3, 0)),
        ),
    ),
    Day(
        "lamp",
        7.0,
        Light((20, 30), 0.012, (0.6, 0.7, 1), 3.0, 0.03, 0.3, 1.35),
        Route((-0.2, 15.6), 0.75, _turns(29, 2.0, BACK, 6, 7)),
        (
            Leg(1.4, (-2.05, 11.9, 0.11), (1.55, -0.45, 0)),
            Leg(4.0, (1.95, 8.1, 0.11), (-2.0, 0.2, 0)),
        ),
    ),
    Day(
        "rain",
        7.0,
        Light((34, -60), 0.7, (1, 0.97, 0.94), 25.0, 1.0, 1.0, 0.95),
        Route((0.7, 4.0), 0.92, _turns(27, 1.8, 0, -7, 7)),
        (
            Leg(1.3, (-2.9, 9.2, 1.0), (2.3, 0.1, 3.0)),
            Leg(4.4, (1.95, 10.6, 0.11), (-1.7, -0.75, 0)),
        ),
        wet=1.0,
    ),
)
