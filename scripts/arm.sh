#!/bin/bash
# Run the CPU kernels' tests on an ARM processor (aarch64) that QEMU emulates, with Python, NumPy and OpenCV built for it:
# what they compute there is shown, not how fast. Takes some minutes and 400 MB in build/arm.
# Needs Debian or Ubuntu with `apt install g++-aarch64-linux-gnu qemu-user-static` and, once,
# `dpkg --add-architecture arm64 && apt-get update`, for the packages of its Python.
set -euo pipefail
cd "$(dirname "$0")/.."
arm=$PWD/build/arm
for tool in aarch64-linux-gnu-g++ qemu-aarch64-static; do
    command -v $tool > /dev/null || { echo "$tool is missing; see the head of $0" >&2; exit 1; }
done
[ -n "$(apt-cache show python3:arm64 2> /dev/null)" ] || {
    echo "apt knows no packages for arm64; run: dpkg --add-architecture arm64 && apt-get update" >&2; exit 1; }
rm -rf "$arm"
mkdir -p "$arm/root" "$arm/packages" "$arm/wheels" "$arm/site"

packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances python3-minimal:arm64 libpython3-stdlib:arm64 libstdc++6:arm64 |
    grep '^[a-z0-9].*:arm64$' | sort -u)
(cd "$arm/packages" && apt-get download -qq $packages)
for package in "$arm/packages/"*.deb; do dpkg-deb -x "$package" "$arm/root"; done
emulated() {
    OPENBLAS_NUM_THREADS=1 PYTHONPATH="$arm/repository:$arm/site" PYTHONDONTWRITEBYTECODE=1 \
        qemu-aarch64-static -L "$arm/root" "$arm/root/usr/bin/python3" "$@"
}
version=$(emulated -c 'import sys; print("%d.%d" % sys.version_info[:2])')

grep -hE '^(hypothesis|pytest)=' requirements/dev.txt > "$arm/test.txt"
.venv/bin/python -m pip download -q --only-binary=:all: --python-version "$version" \
    --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 -d "$arm/wheels" \
    -r requirements/run.txt -r "$arm/test.txt" pyyaml
for wheel in "$arm/wheels/"*.whl; do .venv/bin/python -m zipfile -e "$wheel" "$arm/site"; done

git clone -q . "$arm/repository"
cd "$arm/repository"
CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ \
    LDSHARED="aarch64-linux-gnu-g++ -shared" LDCXXSHARED="aarch64-linux-gnu-g++ -shared" \
    "$OLDPWD/.venv/bin/python" setup.py -q build_ext --inplace 2> ../build.log || true
ls pvm_perception/core/kernels/_cpu_any.*so > /dev/null || {
    echo "the kernels were not compiled; build/arm/build.log says why" >&2; exit 1; }
emulated -m pytest -p no:cacheprovider -rs test/test_forecast.py -k "steps_agree or half_the_size or without_compiled"
emulated -m pytest -p no:cacheprovider -rs test/test_cpu_kernels.py -k "not sanitizers"
