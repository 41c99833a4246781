"""What to type where a package that is imported is not installed."""

from __future__ import annotations

import sys

# module and the package of Debian and Ubuntu that holds it
APT = {
    "numpy": "python3-numpy",
    "cv2": "python3-opencv",
    "tqdm": "python3-tqdm",
    "matplotlib": "python3-matplotlib",
    "threadpoolctl": "python3-threadpoolctl",
}
# module and what pip calls the package, where it is not the same
PIP = {"cv2": "opencv-python-headless", "mpi4py": "mpi4py~=4.1", "cupy": "cupy-cuda12x", "panda3d": "panda3d"}
ROS = ("rclpy", "ament_index_python", "launch", "launch_ros")


def missing(error: ImportError) -> str:
    """Return, as one line, which package could not be imported and the command that installs it.

    Parameters
    ----------
    error
        As it was raised.
    """
    module = (error.name or "").split(".")[0]
    if module in ROS or module.endswith(("_msgs", "_srvs", "_interfaces")):
        package = module.replace("_", "-")
        return (
            f"ROS 2 with {module} ({error}); apt install ros-$ROS_DISTRO-{package} and source it, or run "
            "`make setup`"
        )
    if not module or not isinstance(error, ModuleNotFoundError):
        return f"a package that can be imported ({' '.join(str(error).split())}); see docs/install.md"
    pip = f"{sys.executable} -m pip install {PIP.get(module, module)}"
    if module in APT:
        return f"{module}: apt install {APT[module]}, or {pip}"
    own = sys.prefix != sys.base_prefix  # an environment, whose packages are no other program's business
    return f"{module}: {pip}" + ("" if own else " in an environment, as docs/install.md makes one")
