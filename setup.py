"""Install pvm_perception as an ament_python package."""

import platform
import sys
from glob import glob

from setuptools import Extension, find_packages, setup

PACKAGE = "pvm_perception"
KERNELS = f"{PACKAGE}/core/kernels"
# sums may be taken in any order, but NaN must still be detected; Python's own flags let
# integers wrap around, which makes loops over indices slower
FLAGS = [
    "-std=gnu++17",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fassociative-math",
    "-fno-wrapv",
    "-Wno-unused-function",
]
BUILDS = {"any": []}  # of the CPU kernels; cpu.py takes the best that runs
if platform.machine() in {"x86_64", "AMD64"}:
    BUILDS["avx2"] = ["-mavx2", "-mfma"]
    BUILDS["avx512"] = [
        *BUILDS["avx2"],
        "-mavx512f",
        "-mavx512vl",
        "-mavx512bw",
        "-mavx512dq",
        "-mprefer-vector-width=512",
    ]
    # VNNI: products of 16-bit integers and their sum are one instruction
    BUILDS["avxvnni"] = [*BUILDS["avx2"], "-mavxvnni"]
    BUILDS["avx512vnni"] = [*BUILDS["avx512"], "-mavx512vnni"]

NODES = ("tracker", "target_follower", "stop_sign_guard")
# colcon installs into a folder of this package alone (setup.cfg), where `ros2 run` looks for these names; pip
# into the bin/ that all packages share
PREFIX = "" if {"install", "develop"} & set(sys.argv) else "pvm_"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed"], f"{PACKAGE}.core.kernels": ["*.cu", "*.h"]},
    ext_modules=[  # without a compiler they are left out: NumPy does their work, slower
        Extension(
            f"{PACKAGE}.core.kernels._cpu_{name}",
            sorted(glob(f"{KERNELS}/*.cpp")),
            depends=[f"{KERNELS}/kernels.cu", *glob(f"{KERNELS}/*.h")],
            extra_compile_args=[*FLAGS, *flags],
            optional=True,
        )
        for name, flags in BUILDS.items()
    ],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", glob("launch/*.py")),
        (f"share/{PACKAGE}/clips", glob("clips/*")),
        (f"share/{PACKAGE}/config", glob("config/*")),
        (f"share/{PACKAGE}/models", glob("models/*")),
        (f"share/{PACKAGE}/rviz", glob("rviz/*")),
        (f"share/{PACKAGE}/worlds", glob("worlds/*")),
    ],
    python_requires=">=3.10",
    install_requires=["numpy", "opencv-python-headless", "rosbags", "safetensors", "threadpoolctl", "tqdm"],
    extras_require={
        "cuda": ["cupy-cuda12x"],
        "report": ["matplotlib"],
        "watch": ["rerun-sdk~=0.41.0"],
        "sim": ["mujoco~=4.0"],
        "solid": ["panda3d~=1.10.15"],
        "scale-out": ["mpi4py~=4.1"],
        "test": ["hypothesis", "pytest", "pyyaml"],
    },  # colcon test looks here for pytest
    zip_safe=True,
    maintainer="pvm_perception maintainers",
    maintainer_email="maintainers@pvm-perception.org",
    description="Tracks a green ball or a stop sign with a future-encoder hierarchy.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            *(f"{PREFIX}{node} = {PACKAGE}.__main__:{node}" for node in NODES),
            "pvm_perception = pvm_perception.__main__:run",
        ],
    },
)
