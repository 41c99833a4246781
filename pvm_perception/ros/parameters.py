"""The node's parameters: declared once as dataclass settings, from which come the ROS
descriptors, the YAML file and the README's table.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from pvm_perception.core.backend import DEVICES
from pvm_perception.core.settings import check_value, setting, settings_of
from pvm_perception.errors import PvmError
from pvm_perception.types import TARGETS
from pvm_perception.vision.tracker import TrackerSettings


@dataclass(frozen=True)
class NodeSettings:
    """What the node takes beside the tracker's own settings."""

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


FIXED = ("model", "device", "autostart", "image_transport", "reliability", "diagnostics_period")


def all_settings() -> list[dataclasses.Field]:
    """Return the fields of all parameters, the node's and the tracker's."""
    return [*settings_of(NodeSettings), *settings_of(TrackerSettings)]


def default_of(field: dataclasses.Field) -> Any:
    """Return a setting's default value."""
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory()


def reason_against(name: str, value: Any, running: bool) -> str:
    """Return why a parameter cannot take a value, or "" if it can.

    Parameters
    ----------
    name, value
        The parameter; names that are not ours are left to others.
    running
        Whether the node is past its start, when some parameters are fixed.
    """
    field = next((f for f in all_settings() if f.name == name), None)
    if field is None:
        return ""
    if running and name in FIXED:
        return f"{name} is fixed at start; restart the node with -p {name}:={value}"
    default = default_of(field)
    if isinstance(default, list):
        words = [v for v in value or [] if isinstance(v, str)]
        if not words or len(set(words)) != len(list(value)):
            return f"{name} must be a list of different names that is not empty"
        return ""
    try:
        check_value(field, value)
    except PvmError as error:
        return str(error)
    return ""


def descriptor(field: dataclasses.Field) -> Any:
    """Return the rcl_interfaces ParameterDescriptor of a setting."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    meta, default = field.metadata, default_of(field)
    result = ParameterDescriptor(name=field.name, description=meta["doc"])
    if meta["choices"]:
        result.additional_constraints = "one of " + ", ".join(meta["choices"])
    if meta["low"] is not None and meta["high"] is not None:
        if isinstance(default, float):
            result.floating_point_range = [FloatingPointRange(
                from_value=float(meta["low"]), to_value=float(meta["high"]), step=0.0)]
        else:
            result.integer_range = [IntegerRange(from_value=int(meta["low"]),
                                                 to_value=int(meta["high"]), step=1)]
    return result


def _range(field: dataclasses.Field) -> str:
    meta = field.metadata
    if meta["choices"]:
        return ", ".join(meta["choices"])
    return "" if meta["low"] is None else f"{meta['low']} to {meta['high']}"


def yaml_file() -> str:
    """Return the parameters as a ROS YAML file with every default, meaning and range."""
    lines = ["/**:", "  ros__parameters:"]
    for field in all_settings():
        extent = f" ({_range(field)})" if _range(field) else ""
        lines.append(f"    # {field.metadata['doc']}{extent}")
        value = default_of(field)
        text = ("[" + ", ".join(f'"{v}"' for v in value) + "]" if isinstance(value, list)
                else f'"{value}"' if isinstance(value, str) else str(value).lower())
        lines.append(f"    {field.name}: {text}")
    return "\n".join(lines) + "\n"


def markdown_table() -> str:
    """Return the parameters as the table in the README."""
    lines = ["| parameter | default | range | meaning |", "|---|---|---|---|"]
    for field in all_settings():
        value = default_of(field)
        shown = str(value).lower() if isinstance(value, bool) else repr(value)
        lines.append(f"| `{field.name}` | `{shown}` | {_range(field)} | {field.metadata['doc']} |")
    return "\n".join(lines) + "\n"
