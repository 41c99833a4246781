"""The parameters of each node, for the node itself, its YAML file and the docs."""

from __future__ import annotations

from dataclasses import dataclass

from pvm_perception.core.backend import DEVICES
from pvm_perception.core.settings import redefault, setting
from pvm_perception.ros.parameters import Parameters
from pvm_perception.ros.servo import ServoSettings
from pvm_perception.ros.stop_rule import StopSettings
from pvm_perception.types import TARGETS
from pvm_perception.vision.compressed_image import CompressedSettings
from pvm_perception.vision.ego_motion import USUAL_FOV
from pvm_perception.vision.geometry import RangingSettings
from pvm_perception.vision.tracker import TrackerSettings


@dataclass(frozen=True)
class TrackerNodeSettings:
    """What the tracker's node takes beside the tracker's own settings."""

    targets: list[str] = setting(list(TARGETS), "what to look for")
    model: str = setting("", "model file; empty = the one that ships")
    device: str = setting("auto", "where the network runs; auto = a GPU if one answers", choices=DEVICES)
    fovea: bool = setting(
        True,
        "look a second time, at higher resolution, at what is tracked or "
        "sought; a frame takes two to three times as long",
    )
    latency_compensation: bool = setting(
        False, "give boxes as expected when they are published, not as seen when the image was taken"
    )
    learning: bool = setting(
        False, "learn to foresee the camera's next picture while tracking; boxes stay exactly as they are"
    )
    learning_budget: float = setting(
        0.15,
        "share of one core's time that learning may take; frames beyond it are not learnt from",
        low=0.01,
        high=1.0,
    )
    memory: str = setting(
        "",
        "folder to keep moments in, pictures of the camera, for ~/sleep to learn from; empty = no picture "
        "is kept",
    )
    memory_size: float = setting(
        200.0, "MB that the moments in `memory` may take; the most alike go first", low=1.0, high=1e5
    )
    sleep_minutes: float = setting(
        10.0,
        "minutes that ~/sleep learns, at low priority; an exam follows",
        low=0.1,
        high=600.0,
    )
    sleep_when_idle: bool = setting(
        False, "fall asleep where the camera has shown nothing new for ten minutes and new moments are kept"
    )
    autostart: bool = setting(True, "configure and activate at start, without a lifecycle manager")
    image_transport: str = setting(
        "raw",
        "raw: Image on `image`; compressed: CompressedImage on `image/compressed`",
        choices=("raw", "compressed"),
    )
    reliability: str = setting(
        "auto",
        "of the image subscription; auto = what the publishers offer",
        choices=("auto", "reliable", "best_effort"),
    )
    horizontal_fov: float = setting(
        USUAL_FOV,
        "degrees; of the camera, for the robot's own motion where there is no camera_info",
        low=1.0,
        high=170.0,
    )
    max_age: float = setting(
        0.5,
        "seconds; a frame that is older by its stamp when its turn comes is left out, 0 = none is",
        low=0.0,
        high=10.0,
    )
    frame_timeout: float = setting(
        2.0,
        "seconds without a frame after which diagnostics warn; of "
        "frames without detections after which they say error",
        low=0.1,
        high=60.0,
    )
    diagnostics_period: float = setting(1.0, "seconds between diagnostics", low=0.1, high=60.0)


@dataclass(frozen=True)
class FollowerTarget(RangingSettings):
    """What the follower follows."""


@dataclass(frozen=True)
class FollowerSettings:
    """What the follower does with what it knows."""

    drive: bool = setting(False, "drive to the target: publish `cmd_vel`")
    stamped: bool = setting(False, "`cmd_vel` as TwistStamped instead of Twist")
    broadcast_tf: bool = setting(
        False, "publish the followed target on /tf, as a frame whose parent is the camera's"
    )
    target_frame: str = setting("", "name of that frame; empty = the target's, as green_ball")
    base_frame: str = setting("base_link", "frame_id of a stamped `cmd_vel`")
    rate: float = setting(20.0, "commands a second", low=1.0, high=200.0)
    max_age: float = setting(
        0.5, "seconds; detections that are older by their stamp do not drive, 0 = any may", low=0.0, high=10.0
    )


@dataclass(frozen=True)
class GuardTarget(RangingSettings):
    """The sign, for whose boxes larger errors were measured."""

    target: str = redefault(RangingSettings, "target", "stop_sign")
    shape: str = redefault(RangingSettings, "shape", "flat")
    size: float = redefault(RangingSettings, "size", 0.75)
    min_score: float = redefault(RangingSettings, "min_score", 0.5)  # benchmarks/guard_scores.csv
    size_noise: float = redefault(RangingSettings, "size_noise", 0.3)
    centre_noise: float = redefault(RangingSettings, "centre_noise", 0.12)


@dataclass(frozen=True)
class GuardSettings:
    """What the guard says to Nav2."""

    limit: float = setting(
        1.0,
        "percent of the robot's largest speed while it has to stop; Nav2 reads 0 as no limit",
        low=0.1,
        high=100.0,
    )


# by the name of the YAML file in config/
NODES: dict[str, Parameters] = {
    "tracker": Parameters(
        (TrackerNodeSettings, CompressedSettings, TrackerSettings),
        (
            "model",
            "device",
            "fovea",
            "memory",
            "memory_size",
            "autostart",
            "image_transport",
            "reliability",
            "diagnostics_period",
        ),
    ),
    "follower": Parameters(
        (FollowerTarget, FollowerSettings, ServoSettings),
        ("use_depth", "drive", "stamped", "broadcast_tf", "target_frame", "base_frame", "rate", "max_age"),
    ),
    "guard": Parameters((GuardTarget, GuardSettings, StopSettings), ("use_depth",)),
}
