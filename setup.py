"""Install pvm_perception as an ament_python package."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "pvm_perception"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={f"{PACKAGE}.core.kernels": ["*.cu"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", glob("launch/*.py")),
        (f"share/{PACKAGE}/config", glob("config/*")),
        (f"share/{PACKAGE}/models", glob("models/*")),
        (f"share/{PACKAGE}/rviz", glob("rviz/*")),
        (f"share/{PACKAGE}/worlds", glob("worlds/*")),
    ],
    python_requires=">=3.10",
    install_requires=["numpy", "opencv-python-headless", "rosbags", "safetensors",
                      "threadpoolctl", "tqdm"],
    extras_require={"cuda": ["cupy-cuda12x"], "report": ["matplotlib"],
                    "watch": ["rerun-sdk~=0.41.0"], "sim": ["mujoco~=4.0"],
                    "scale-out": ["mpi4py~=4.1"],
                    "test": ["hypothesis", "pytest", "pyyaml"]},  # colcon test looks here for pytest
    zip_safe=True,
    maintainer="pvm_perception maintainers",
    maintainer_email="maintainers@pvm-perception.org",
    description="Tracks a green ball or a stop sign with a future-encoder hierarchy.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "tracker = pvm_perception.__main__:tracker",
            "target_follower = pvm_perception.__main__:target_follower",
            "stop_sign_guard = pvm_perception.__main__:stop_sign_guard",
            "pvm_perception = pvm_perception.__main__:run",
        ],
    },
)
