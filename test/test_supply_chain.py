"""What is installed and downloaded: pinned, with digests, and listed."""

import hashlib
import json
import re
import subprocess
import zipfile

import pytest
from conftest import ROOT

REQUIREMENTS = ROOT / "requirements"
LOCKED = {"setup": ("run", "ros", "dev"), "docs": ("run", "docs")} | {
    name: (name,)
    for name in (
        "tracks",
        "association",
        "gpu",
        "scale-out",
        "sim",
        "solid",
        "watch",
        "browser",
        "drive",
        "peers",
        "sbom",
        "photos",
    )
}


def pins(path):
    """Return {name: version} of a file whose every line is a pin, and the number of digests of each."""
    lines = re.sub(r" *#.*", "", path.read_text()).replace("\\\n", "").splitlines()
    versions, digests = {}, {}
    for line in filter(str.strip, lines):
        name, version = re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", line).groups()
        name = re.sub(r"[-_.]+", "-", name).lower()
        versions[name] = version
        digests[name] = len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", line))
    return versions, digests


def test_every_list_is_locked():
    named = {name for names in LOCKED.values() for name in names}
    assert {p.stem for p in REQUIREMENTS.glob("*.txt")} == named
    assert {p.stem for p in (REQUIREMENTS / "locked").glob("*.txt")} == set(LOCKED)


@pytest.mark.parametrize("name", LOCKED)
def test_locked_versions_are_the_pinned_ones_with_digests(name):
    locked, digests = pins(REQUIREMENTS / "locked" / f"{name}.txt")
    assert all(digests.values())
    for part in LOCKED[name]:
        for package, version in pins(REQUIREMENTS / f"{part}.txt")[0].items():
            assert locked[package] == version, f"run scripts/lock.sh: {package}"
    if name in ("gpu", "scale-out", "sim", "solid", "watch"):  # into the same environment
        setup = pins(REQUIREMENTS / "locked" / "setup.txt")[0]
        assert {p: setup[p] for p in locked if p in setup} == {p: v for p, v in locked.items() if p in setup}


def test_nothing_is_installed_from_wheels_without_digests():
    """But beside a sourced ROS 2, whose NumPy decides; try_install.sh does what a robot's owner types."""
    texts = {path: path.read_text() for path in (ROOT / "Makefile", *(ROOT / "scripts").glob("*.sh"))}
    for path, text in texts.items():
        for line in text.replace("\\\n", " ").splitlines():
            if "pip install" in line and path.name not in ("arm.sh", "lock.sh", "try_install.sh"):
                assert "--require-hashes" in line or "build/" in line or '"$@"' in line, (path, line)


def test_a_file_with_another_digest_is_refused(tmp_path):
    """The shape of pip's own check, with a wheel that was changed after it was locked."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel = folder / "harmless-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            "harmless-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n"
        )
        archive.writestr("harmless-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("harmless-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for asked, code in ((digest, 0), ("0" * 64, 1)):
        (tmp_path / "r.txt").write_text(f"harmless==1.0 --hash=sha256:{asked}\n")
        done = subprocess.run(
            [
                ROOT / ".venv/bin/python",
                "-m",
                "pip",
                "download",
                "--no-index",
                "--no-deps",
                "--find-links",
                folder,
                "-d",
                tmp_path / "out",
                "--require-hashes",
                "-r",
                tmp_path / "r.txt",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr


def test_the_bill_of_materials(tmp_path):
    python = ROOT / "build" / "sbom" / "bin" / "python"
    if not python.exists():
        pytest.skip("make sbom has not run here: its tools have an environment of their own")
    file = tmp_path / "sbom.cdx.json"
    subprocess.run([python, ROOT / "scripts" / "sbom.py", file], check=True, capture_output=True)
    bill = json.loads(file.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "pvm_perception"
    found = {c["name"].lower(): c for c in bill["components"]}
    run = pins(REQUIREMENTS / "run.txt")[0]
    assert {name: found[name]["version"] for name in run} == run
    model = ROOT / "models" / "robot.safetensors"
    assert found[model.name]["hashes"][0]["content"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert "cyclonedx-bom" not in found
