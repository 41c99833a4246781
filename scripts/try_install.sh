#!/bin/sh
# Install as docs/install.md says, in a folder of its own, and track some frames: the same boxes as `make setup`'s?
# apt's NumPy and OpenCV, where the machine has none, are stood in for by those versions from PyPI, and apt's
# colcon by PyPI's. Usage: try_install.sh [FOLDER]   (empty or new; default build/install-trial)
set -eu
cd "$(dirname "$0")/.."
ROOT=$PWD
PLACE=${1:-build/install-trial}
NUMPY=1.26.4 OPENCV=4.6.0.66  # Ubuntu 24.04's
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE || true  # see setup.sh

say() { echo "install: $1"; }
page() { sed -n "s/^    \(venv.bin.python -m $1.*\)/\1/p; s/^    \(python3 -m $1.*\)/\1/p" docs/install.md; }

rm -rf "$PLACE"
mkdir -p "$PLACE/src/pvm_perception" "$PLACE/apt"
touch "$PLACE/apt/COLCON_IGNORE"
git ls-files -z | xargs -0 cp --parents -t "$PLACE/src/pvm_perception"
environment=$(page venv) packages=$(page pip) build=$(page colcon)
cd "$PLACE"
say "$environment"
sh -c "$environment"
if venv/bin/python -c 'import numpy, cv2, tqdm' 2>/dev/null; then
    say "the system's NumPy and OpenCV"
else
    say "no NumPy and OpenCV from apt here: NumPy $NUMPY, OpenCV $OPENCV from PyPI"
    venv/bin/python -m pip install -q --disable-pip-version-check --target apt \
        numpy==$NUMPY opencv-python-headless==$OPENCV tqdm
    echo "$PWD/apt" >"$(venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/apt.pth"
fi
venv/bin/python -c 'import colcon' 2>/dev/null ||
    venv/bin/python -m pip install -q --disable-pip-version-check colcon-core==0.21.3 colcon-ros colcon-package-selection
say "$packages"
sh -c "$packages -q --disable-pip-version-check"
say "$build"
sh -c "$build"
test -x install/pvm_perception/lib/pvm_perception/tracker  # where `ros2 run` looks

run() {  # ENVIRONMENT'S PYTHON, OUTPUT
    (cd / && "$1" -m pvm_perception track --input "$WORK/frames" --output "$2")
}
WORK=$PWD
"$ROOT/.venv/bin/python" -m pvm_perception simulate --output "$WORK/frames" --frames 120 --seed 2 >/dev/null
run "$ROOT/.venv/bin/python" "$WORK/ours.csv"
# shellcheck disable=SC1091
(set +u && . ./install/local_setup.sh && run "$WORK/venv/bin/python" "$WORK/theirs.csv" &&
    cd / && "$WORK/venv/bin/python" -c 'import cv2, numpy, pvm_perception
print(f"install: NumPy {numpy.__version__}, OpenCV {cv2.__version__}, {pvm_perception.__file__}")')
"$ROOT/.venv/bin/python" - "$WORK/ours.csv" "$WORK/theirs.csv" <<'END'
import csv, sys
ours, theirs = (list(csv.DictReader(open(path))) for path in sys.argv[1:])
assert ours, "no boxes to compare"
assert [(r["frame"], r["target"], r["id"]) for r in ours] == [(r["frame"], r["target"], r["id"]) for r in theirs]
worst = max(abs(float(a[k]) - float(b[k])) for a, b in zip(ours, theirs) for k in ("x", "y", "w", "h"))
assert worst <= 1.0, f"boxes differ by {worst} px"
print(f"install: the same {len(ours)} boxes, to {worst:.2f} px")
END
