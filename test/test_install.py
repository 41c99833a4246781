"""How it is installed: names of executables, the message where a package is missing, containers."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from pvm_perception import __version__
from pvm_perception.needs import missing

PAGE = (ROOT / "docs" / "install.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = {"ARG", "FROM", "WORKDIR", "RUN", "COPY", "ENV", "ENTRYPOINT", "CMD"}


def instructions():
    """Return the Dockerfile's instructions, each with its lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE)
    lines = [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines()]
    return [line.split(" ", 1) for line in lines if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("bdist_wheel",), {"pvm_tracker", "pvm_target_follower", "pvm_stop_sign_guard", "pvm_perception"}),
        (("install",), {"tracker", "target_follower", "stop_sign_guard", "pvm_perception"}),
        (("develop",), {"tracker", "target_follower", "stop_sign_guard", "pvm_perception"}),
    ],
)
def test_executables_have_names_for_the_folder_they_go_to(words, expected):
    """pip's is everybody's; colcon's is the package's own, and `ros2 run` knows the names there."""
    code = f"""
import sys, setuptools
sys.argv = ["setup.py", {words[0]!r}]
setuptools.setup = lambda **given: print(*given["entry_points"]["console_scripts"], sep="\\n")
exec(open("setup.py").read())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split(" = ")[0] for line in done.stdout.splitlines()} == expected
    assert "install_scripts=$base/lib/pvm_perception" in (ROOT / "setup.cfg").read_text()


def test_the_version_is_printed(command_line):
    process = command_line("--version")
    assert (process.returncode, process.stdout) == (0, f"pvm_perception {__version__}\n")


@pytest.mark.parametrize(
    ("module", "command", "words"),
    [
        ("numpy", ("info", "models/robot.safetensors"), "apt install python3-numpy"),
        ("cv2", ("track", "--input", "models", "--output", "{}/b.csv"), "apt install python3-opencv"),
        ("tqdm", ("track", "--input", "models", "--output", "{}/b.csv"), "apt install python3-tqdm"),
        ("safetensors", ("info", "models/robot.safetensors"), "-m pip install safetensors"),
        ("rosbags", ("track", "--input", "{}/a.mcap", "--output", "{}/b.csv"), "-m pip install rosbags"),
        ("rclpy", ("tracker",), "apt install ros-$ROS_DISTRO-rclpy"),
        ("visualization_msgs", ("follower",), "apt install ros-$ROS_DISTRO-visualization-msgs"),
        ("safetensors", ("tracker",), "-m pip install safetensors"),
        ("mujoco", ("sim",), "mujoco"),
    ],
)
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(
    command_line, tmp_path, module, command, words
):
    if command[0] in ("tracker", "follower") and module == "safetensors":
        pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError('No module named', name={module!r})")
    (tmp_path / "a.mcap").write_bytes(b"\x89MCAP0\r\n")
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    process = command_line(*(word.format(tmp_path) for word in command), env=env)
    assert process.returncode == 2, process.stderr
    assert process.stderr.count("\n") == 1 and "Traceback" not in process.stderr
    assert process.stderr.startswith("pvm_perception: error: ") and words in process.stderr


def test_a_package_that_is_there_and_broken_is_not_to_be_installed_again():
    words = missing(ImportError("numpy.core.multiarray failed to import"))
    assert "pip install" not in words and "multiarray failed" in words


def test_the_dockerfile_is_the_page_in_other_words():
    parts = instructions()
    assert {name for name, _ in parts} <= INSTRUCTIONS
    assert [name for name, _ in parts][:2] == ["ARG", "FROM"]
    runs = " && ".join(rest for name, rest in parts if name == "RUN")
    for line in re.findall(r"^    (?:sudo )?((?:venv|python3|rosdep) ?.*|venv/bin.*)$", PAGE, re.MULTILINE):
        for command in line.split(" && "):
            assert command in runs, command
    assert "python3-venv python3-colcon-common-extensions g++" in runs
    for name, rest in parts:
        if name in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(word, str) for word in json.loads(rest))
        if name == "COPY":
            assert (ROOT / rest.split()[0]).exists()
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".venv", "build"} <= set(ignored)


@pytest.mark.parametrize("distro", ["jazzy", "kilted"])
def test_the_devcontainers_build_the_dockerfile(distro):
    file = ROOT / ".devcontainer" / distro / "devcontainer.json"
    build = json.loads(file.read_text())["build"]
    assert (file.parent / build["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (file.parent / build["context"]).resolve() == ROOT
    assert build["args"] == {"ROS_DISTRO": distro}


def test_the_workflow_runs_targets_that_exist_on_the_releases_of_the_page():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    steps = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    called = set(re.findall(r"\bmake ([a-z-]+)(?= *(?:&&|$))", "\n".join(steps), re.MULTILINE))
    assert {"test", "lint"} <= called <= targets
    assert jobs["ros"]["strategy"]["matrix"]["distro"] == ["humble", "jazzy", "kilted"]
    assert all(name.capitalize() in PAGE for name in ("humble", "jazzy", "kilted"))
