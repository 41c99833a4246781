"""The transport benchmark: both processes run, and the table says what arrived."""

import csv
import subprocess
import sys

import pytest
from conftest import ROOT

pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")


def test_frames_are_counted_without_and_with_the_profile(tmp_path):
    table = tmp_path / "transport.csv"
    process = subprocess.run(
        [
            sys.executable,
            "benchmarks/transport.py",
            "--seconds",
            "1",
            "--sizes",
            "64x48",
            "--output",
            str(table),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["width"], r["height"], r["profile"]) for r in rows] == [("64", "48", "0"), ("64", "48", "1")]
    for r in rows:  # so small a frame arrives either way
        assert r["sent"] == "30" and 0 < int(r["received"]) <= 30
        assert float(r["share"]) == pytest.approx(int(r["received"]) / 30, abs=0.001)
        assert 0 < float(r["delay_ms_p50"]) <= float(r["delay_ms_p99"])
    with (ROOT / "benchmarks" / "transport.csv").open(newline="") as file:
        assert next(csv.reader(file)) == list(rows[0])
