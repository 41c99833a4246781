"""The test run's last words: what it could not try."""

import os
import subprocess
import sys

from conftest import ROOT

TESTS = """
import pytest
gpu = pytest.mark.skipif(True, reason="no GPU here")

@gpu
@pytest.mark.parametrize("n", range(3))
def test_gpu(n): pass

def test_world(): pytest.skip("no sdformat here; apt install sdformat-sdf")

def test_good(): pass

@pytest.mark.xfail
def test_bad(): raise ValueError
"""


def run(folder):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "not_tried", "-p", "no:cacheprovider", folder],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "test"), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.splitlines()


def test_what_was_skipped_is_one_line_by_reason(tmp_path):
    (tmp_path / "test_a.py").write_text(TESTS)
    (tmp_path / "test_b.py").write_text("import pytest\npytest.importorskip('no_ros', reason='no ROS 2')\n")
    lines = run(tmp_path)
    assert [line for line in lines if "not tried" in line] == [
        "not tried here: 3 tests (no GPU here), 1 file (no ROS 2), "
        "1 test (no sdformat here; apt install sdformat-sdf)"
    ]


def test_nothing_is_said_where_all_was_tried(tmp_path):
    (tmp_path / "test_a.py").write_text("def test_good(): pass\n")
    assert not any("not tried" in line for line in run(tmp_path))
