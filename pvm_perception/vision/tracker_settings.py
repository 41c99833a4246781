"""How detections become tracks: what can be set."""

from __future__ import annotations

from dataclasses import dataclass

from pvm_perception.core.settings import check, setting


@dataclass(frozen=True)
class TrackerSettings:
    """How detections become tracks."""

    birth_score: float = setting(
        0.4,
        "evidence, 0 to 1, from which a track is born; higher = fewer false tracks, but later ones",
        low=0.0,
        high=1.0,
    )
    keep_score: float = setting(
        0.25,
        "evidence, 0 to 1, below which a track is no longer reported that once had evidence of 0.6; one that "
        "never had ends below birth_score",
        low=0.0,
        high=1.0,
    )
    smoothing: float = setting(
        0.35,
        "share of the newest detection's score in a track's evidence; the rest is the evidence before, 1 "
        "= no smoothing",
        low=0.05,
        high=1.0,
    )
    box_smoothing: float = setting(
        0.5,
        "share of the newest detection in a track's size, and more in its place; the rest is what was "
        "expected, 1 = no smoothing",
        low=0.05,
        high=1.0,
    )
    max_gap: float = setting(
        16.0,
        "frames that a track is remembered, with its id, while no detection supports it",
        low=0.0,
        high=300.0,
    )
    coast: float = setting(
        1.0,
        "frames that a track is still reported, where it is expected, while no detection supports it",
        low=0.0,
        high=60.0,
    )
    max_instances: int = setting(
        3, "largest number of tracks of one target that are reported at a time", low=1, high=8
    )

    def __post_init__(self) -> None:
        check(self)
