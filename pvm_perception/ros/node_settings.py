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
from pvm_perception.vision.tracker_settings import TrackerSettings


@dataclass(frozen=True)
class TrackerNodeSettings:
    """What the tracker's node takes beside the tracker's own settings."""

    targets: list[str] = setting(
        list(TARGETS), "names of the targets to track, of those that the model knows"
    )
    model: str = setting("", "path of the model file; empty = the one that ships with the package")
    device: str = setting(
        "auto",
        "where the network runs; auto = an NVIDIA GPU where one answers, else the CPU",
        choices=DEVICES,
    )
    fovea: bool = setting(
        True,
        "look at each frame more than once, at higher resolution, around what is tracked and where more may "
        "be; a frame takes two to three times as long",
    )
    latency_compensation: bool = setting(
        False,
        "publish boxes where they are expected at the time of publication; false = where they were when "
        "the image was taken",
    )
    learning: bool = setting(
        False, "learn to foresee the camera's next picture while tracking; boxes stay exactly as they are"
    )
    learning_budget: float = setting(
        0.15,
        "share of one core's time, 0 to 1, that `learning` may take; frames beyond it are tracked but not"
        " learnt from",
        low=0.01,
        high=1.0,
    )
    memory: str = setting(
        "",
        "folder in which moments, pictures of the camera, are kept for ~/sleep to learn from; empty = no "
        "picture is kept",
    )
    memory_size: float = setting(
        200.0,
        "megabytes that the moments in `memory` may take; beyond it the most alike are removed first",
        low=1.0,
        high=1e5,
    )
    sleep_minutes: float = setting(
        10.0,
        "minutes of learning, at low priority, after a call of ~/sleep; an exam of the new model follows",
        low=0.1,
        high=600.0,
    )
    sleep_when_idle: bool = setting(
        False,
        "begin a sleep without a call, once the camera has shown nothing new for ten minutes and new "
        "moments are kept in `memory`",
    )
    autostart: bool = setting(
        True, "configure and activate the node at start; false = wait for a lifecycle manager"
    )
    image_transport: str = setting(
        "raw",
        "type and topic of the images; raw: Image on `image`; compressed: CompressedImage on "
        "`image/compressed`",
        choices=("raw", "compressed"),
    )
    reliability: str = setting(
        "auto",
        "QoS reliability of the image subscription; auto = what the publishers offer",
        choices=("auto", "reliable", "best_effort"),
    )
    horizontal_fov: float = setting(
        USUAL_FOV,
        "horizontal field of view of the camera in degrees, from which the robot's own motion is computed"
        " where there is no camera_info",
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
        "seconds without a frame after which diagnostics warn; seconds in which frames come but no "
        "detections are published after which they report an error",
        low=0.1,
        high=60.0,
    )
    diagnostics_period: float = setting(
        1.0, "seconds from one diagnostics message to the next", low=0.1, high=60.0
    )


@dataclass(frozen=True)
class FollowerTarget(RangingSettings):
    """What the follower follows."""


@dataclass(frozen=True)
class FollowerSettings:
    """What the follower does with what it knows."""

    drive: bool = setting(
        False, "drive to the target by publishing `cmd_vel`; false = only publish where it is"
    )
    stamped: bool = setting(False, "publish `cmd_vel` as TwistStamped; false = as Twist")
    broadcast_tf: bool = setting(
        False, "publish the followed target on /tf, as a frame whose parent is the camera's"
    )
    target_frame: str = setting(
        "", "name of the frame that `broadcast_tf` publishes; empty = the target's name, as green_ball"
    )
    base_frame: str = setting("base_link", "frame_id of `cmd_vel` where it is `stamped`")
    rate: float = setting(20.0, "commands on `cmd_vel` a second", low=1.0, high=200.0)
    max_age: float = setting(
        0.5,
        "seconds; a frame that is older by its stamp when its turn comes is left out, 0 = none is",
        low=0.0,
        high=10.0,
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
        "speed limit while the robot has to stop, in percent of its largest speed; Nav2 reads 0 as no limit",
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
