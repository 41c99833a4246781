"""From what happened in a run to figures. No ROS and no physics in it."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pvm_perception.errors import writing

STANDING = 0.01  # m/s; slower is still
LEAST_STOP = 1.0  # s; a shorter standstill is no full stop
NEAR = 3.5  # m before the sign; a stop farther off was for something else
FOUND = 0.5  # overlap of box and truth from which the target counts as found


@dataclass(frozen=True)
class Moment:
    """The truth of one frame, and what the tracker made of it."""

    time: float  # s, simulated
    x: float  # m, the robot
    y: float
    yaw: float  # rad
    speed: float  # m/s, over the floor
    target_x: float  # m
    target_y: float
    distance: float  # m, from the camera to the target's middle, over the floor
    in_view: int  # 1 where the target's middle is in the image
    overlap: float  # of the best box with the truth, 0..1; 0 without either
    answered: int  # 1 where the detections came within the time that is given them
    collisions: int  # so far
    share: float  # of the largest speed that the speed limit leaves, 0..1


def write_moments(path: Path, moments: Sequence[Moment]) -> None:
    """Write a run as CSV.

    Parameters
    ----------
    path
        The file, which is written over.
    moments
        Of the run, in order.

    Raises
    ------
    PvmError
        If the file cannot be written.
    """
    with writing(path), path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [f.name for f in fields(Moment)])
        table.writeheader()
        table.writerows(asdict(m) for m in moments)


def read_moments(path: Path) -> list[Moment]:
    """Return the run in a CSV file."""
    kinds: dict[str, Any] = {f.name: int if f.type == "int" else float for f in fields(Moment)}
    with path.open(newline="", encoding="utf-8") as file:
        return [Moment(**{k: kinds[k](v) for k, v in row.items()}) for row in csv.DictReader(file)]


def common_figures(moments: Sequence[Moment]) -> dict[str, float]:
    """Return what any run has: seconds, frames without an answer, how often the target was found."""
    seen = [m for m in moments if m.in_view]
    return {
        "seconds": round(moments[-1].time, 3),
        "frames": len(moments),
        "unanswered": sum(not m.answered for m in moments),
        "found": _mean([m.overlap >= FOUND for m in seen]),
        "collisions": moments[-1].collisions,
    }


def ball_figures(moments: Sequence[Moment], wanted: float) -> dict[str, float]:
    """Return how well the ball was followed, all frames from the first on.

    Parameters
    ----------
    moments
        A run's frames, at equal times.
    wanted
        The distance to keep, m.

    Returns
    -------
    Beside the common figures: in_view, the share of time with the ball in the image; distance_error,
    the mean of |distance - wanted| / wanted.
    """
    return common_figures(moments) | {
        "in_view": _mean([m.in_view for m in moments]),
        "distance_error": _mean([abs(m.distance - wanted) / wanted for m in moments]),
    }


def sign_figures(moments: Sequence[Moment]) -> dict[str, float | bool]:
    """Return whether the robot came to a full stop before the sign.

    Returns
    -------
    Beside the common figures: stopped, whether it stood for `LEAST_STOP` before the sign's plane and no
    more than `NEAR` from it; stop_distance, m from where it stood first to that plane (NaN without);
    early_stops, standstills farther off; passed, whether it then went on past the sign.
    """
    stops = [s for s in standstills(moments) if s[0].x < s[0].target_x]
    near = [s for s in stops if s[0].target_x - s[0].x <= NEAR]
    return common_figures(moments) | {
        "stopped": bool(near),
        "stop_distance": near[0][0].target_x - near[0][0].x if near else float("nan"),
        "early_stops": len(stops) - len(near),
        "passed": moments[-1].x > moments[-1].target_x,
    }


def worst(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the worst of several runs' ball figures, each by itself; NaN where there was no run."""
    return {
        "in_view": min((r["in_view"] for r in runs), default=math.nan),
        "found": min((r["found"] for r in runs), default=math.nan),
        "distance_error": max((r["distance_error"] for r in runs), default=math.nan),
    }


def mean(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the same figures' means."""
    return {name: _mean([r[name] for r in runs]) for name in worst(runs)}


def standstills(moments: Sequence[Moment]) -> list[list[Moment]]:
    """Return all times that the robot, once under way, stood for `LEAST_STOP` or longer."""
    result: list[list[Moment]] = []
    standing: list[Moment] = []
    driven = False
    for m in moments:
        if m.speed >= STANDING:
            driven, standing = True, []
        elif driven:
            standing.append(m)
            if len(standing) == 1:
                continue
            if result and result[-1] is standing:
                continue
            if m.time - standing[0].time >= LEAST_STOP:
                result.append(standing)
    return result


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
