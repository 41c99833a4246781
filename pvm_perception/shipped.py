"""Where the files lie that come with the package: in a checkout, or in a ROS package's share."""

from __future__ import annotations

from pathlib import Path


def shipped(name: str) -> Path:
    """Return the path of a shipped file, as "models/robot.safetensors"; it may be missing."""
    here = Path(__file__).resolve().parent
    for folder in (here, here.parent):
        if (folder / name).is_file():
            return folder / name
    try:  # an installed ROS package keeps its files in share/
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory("pvm_perception")) / name
    except (ImportError, LookupError):
        return here.parent / name
