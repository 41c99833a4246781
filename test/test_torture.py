"""A short form of `make torture`: the parts that no test of a topic runs already, with small counts."""

import csv
import subprocess
import sys

import pytest
from conftest import ROOT


def attacked(tmp_path, part, share):
    """Return the row of one part, run as `make torture` runs it."""
    table = tmp_path / "torture.csv"
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "benchmarks/torture.py",
            "--parts",
            part,
            "--share",
            share,
            "--output",
            table,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    with table.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert done.returncode == 0, row
    return row


def test_some_hundred_damaged_bags(tmp_path):
    row = attacked(tmp_path, "bags", "0.05")
    assert (row["part"], row["count"], row["failures"]) == ("bags", "200", "0")


def test_a_node_configured_and_cleaned_up_again_and_again(tmp_path):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")
    row = attacked(tmp_path, "lifecycle", "0.04")  # the first half fills what is kept for good
    assert (row["part"], row["count"], row["failures"]) == ("lifecycle", "40", "0")
