#!/bin/sh
# Install requirements/NAME.txt into .venv: only files whose digests are in requirements/locked/NAME.txt. Where
# ROS 2 is sourced, whatever goes with the system's NumPy. Usage: install.sh NAME [option of pip]...
set -eu
cd "$(dirname "$0")/.."
name=$1
shift
if [ -f build/constraints.txt ]; then
    set -- "$@" -r "requirements/$name.txt" -c build/constraints.txt
else
    set -- "$@" --require-hashes -r "requirements/locked/$name.txt"
fi
exec .venv/bin/python -m pip install -q --disable-pip-version-check "$@"
