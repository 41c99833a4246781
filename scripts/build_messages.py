"""Build a package of message definitions with the rosidl wheels, into the environment itself.

Usage: .venv/bin/python scripts/build_messages.py interfaces/vision_msgs build/vision_msgs
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy


def correct_exports(prefix: Path) -> None:
    """Let the wheels' CMake exports name this machine's headers, not their builder's."""
    python, arrays = sysconfig.get_paths()["include"], numpy.get_include()
    for path in prefix.glob("share/*/cmake/export_*__rosidl_generator_pyExport.cmake"):
        text = path.read_text()
        new = re.sub(r"/opt/python/[^;\"]*numpy/_?core/include", arrays, text)
        new = re.sub(r"/opt/python/[^;\"]*include/python3\.\d+", python, new)
        if new != text:
            path.write_text(new)


def main(source: str, build: str) -> int:
    """Configure, build, install; on failure show what the tools said.

    Parameters
    ----------
    source
        Folder of the package.
    build
        Folder to build in.
    """
    prefix = Path(sys.prefix)
    correct_exports(prefix)
    env = os.environ | {
        "AMENT_PREFIX_PATH": str(prefix),
        "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    steps = (
        [
            "cmake",
            "-G",
            "Ninja",
            "-S",
            source,
            "-B",
            build,
            "-DCMAKE_BUILD_TYPE=Release",
            "-DBUILD_TESTING=OFF",
            f"-DCMAKE_PREFIX_PATH={prefix}",
            f"-DCMAKE_INSTALL_PREFIX={prefix}",
            f"-DPython3_EXECUTABLE={sys.executable}",
        ],
        ["ninja", "-C", build, "install"],
    )
    for step in steps:
        done = subprocess.run(step, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
            print(f"{step[0]} failed building {source}; see above", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
