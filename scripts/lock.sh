#!/bin/sh
# Write requirements/locked/*.txt: every package that requirements/*.txt bring with them, pinned, with the
# digests of its files for every Python from 3.11 on and every platform. Run it after a change there.
set -eu
cd "$(dirname "$0")/.."
UV=build/lock/bin/uv
[ -x $UV ] || python3 -m venv build/lock
build/lock/bin/python -m pip install -q --disable-pip-version-check uv==0.13.9

lock() {  # NAME, then what uv is told
    name=$1
    shift
    echo "lock: requirements/locked/$name.txt"
    $UV pip compile -q --no-config --universal --python-version 3.11 --generate-hashes --no-annotate \
        --custom-compile-command "scripts/lock.sh" "$@" -o "requirements/locked/$name.txt"
}

lock setup requirements/run.txt requirements/ros.txt requirements/dev.txt
lock tracks --no-deps requirements/tracks.txt  # TrackEval asks for another OpenCV
lock association --no-deps requirements/association.txt  # likewise
lock photos --no-deps requirements/photos.txt
for name in gpu scale-out sim solid watch; do  # into the same environment: the same versions
    lock $name -c requirements/locked/setup.txt requirements/$name.txt
done
lock docs requirements/run.txt requirements/docs.txt  # whose docutils is not catkin_pkg's
for name in browser drive peers sbom; do
    lock $name requirements/$name.txt
done
