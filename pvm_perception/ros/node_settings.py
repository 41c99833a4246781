"""What each node can be told: its parameters, for the node itself, its YAML file and the docs."""

from __future__ import annotations

from dataclasses import dataclass

from pvm_perception.core.backend import DEVICES
from pvm_perception.core.settings import setting
from pvm_perception.ros.parameters import Parameters
from pvm_perception.types import TARGETS
from pvm_perception.vision.tracker import TrackerSettings


@dataclass(frozen=True)
class TrackerNodeSettings:
    """What the tracker's node takes beside the tracker's own settings."""

    targets: list = setting(list(TARGETS), "what to look for")
    model: str = setting("", "model file; empty = the one that ships")
    device: str = setting("auto", "where the network runs; auto = a GPU if one answers",
                          choices=DEVICES)
    learning: bool = setting(False, "go on learning to predict from the camera's own stream")
    autostart: bool = setting(True, "configure and activate at start, without a lifecycle manager")
    image_transport: str = setting("raw", "raw: Image on `image`; compressed: CompressedImage on "
                                          "`image/compressed`", choices=("raw", "compressed"))
    reliability: str = setting("auto", "of the image subscription; auto = what the publishers "
                                       "offer", choices=("auto", "reliable", "best_effort"))
    frame_timeout: float = setting(2.0, "seconds without a frame after which diagnostics warn",
                                   low=0.1, high=60.0)
    diagnostics_period: float = setting(1.0, "seconds between diagnostics", low=0.1, high=60.0)


# by the name of the YAML file in config/
NODES: dict[str, Parameters] = {
    "tracker": Parameters(
        (TrackerNodeSettings, TrackerSettings),
        ("model", "device", "autostart", "image_transport", "reliability", "diagnostics_period")),
}
