"""Where the files lie that come with the package: in a checkout, beside it, or in a share/ of its own."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

PACKAGE = "pvm_perception"


def shipped(name: str) -> Path:
    """Return the path of a shipped file, as "models/robot.safetensors"; it may be missing."""
    here = Path(__file__).resolve().parent
    # a share/ above lib/python3.x/site-packages is colcon's or pip's, one beside the package that of --target
    shares = (above / "share" / PACKAGE for above in here.parents[:5])
    for folder in (here, here.parent, *shares):
        if (folder / name).is_file():
            return folder / name
    return _installed(name) or _in_ros_share(name) or here.parent / name


def default_model() -> Path:
    """Return the path of the model that ships with the package."""
    return shipped("models/robot.safetensors")


def _installed(name: str) -> Path | None:
    """Return where pip put a file, in whatever prefix; None where pip knows of none."""
    try:
        files = metadata.files(PACKAGE) or ()
    except metadata.PackageNotFoundError:
        return None
    end = f"share/{PACKAGE}/{name}"
    found = (Path(file.locate()).resolve() for file in files if file.as_posix().endswith(end))
    return next(filter(Path.is_file, found), None)


def _in_ros_share(name: str) -> Path | None:
    """Return where colcon put a file; None without a ROS environment that knows the package."""
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(PACKAGE)) / name
    except (ImportError, LookupError, OSError):  # OSError: AMENT_PREFIX_PATH is not set
        return None
