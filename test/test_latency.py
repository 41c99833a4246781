"""The latency benchmark: three processes over real DDS, and a table that adds up."""

import csv
import subprocess
import sys

import pytest
from conftest import ROOT

pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")


@pytest.mark.parametrize(("reliability", "transport"), [("best_effort", "raw"), ("reliable", "compressed")])
def test_each_frame_is_followed_from_its_stamp_to_its_detections(tmp_path, reliability, transport):
    output = tmp_path / "latency.csv"
    process = subprocess.run(
        [
            sys.executable,
            "benchmarks/latency.py",
            "--seconds",
            "5",
            "--reliability",
            reliability,
            "--transport",
            transport,
            "--output",
            str(output),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    rows = {r["stage"]: r for r in read(output)}
    total = rows["stamp to received"]
    assert total["sent"] == "150" and 0 < int(total["answered"]) <= 150
    assert (total["reliability"], total["transport"], total["max_age"]) == (reliability, transport, "0.5")
    assert float(total["rss_mb_most"]) > 20
    for row in rows.values():
        assert 0 <= float(row["ms_p50"]) <= float(row["ms_p99"]) <= float(row["ms_most"])
    for name in ("age when begun", "look"):  # no stage is longer than the whole
        assert float(rows[name]["ms_most"]) <= float(total["ms_most"])
    seen = [int(r["stamp"]) for r in read(tmp_path / "latency" / "node.csv")]
    assert seen == sorted(set(seen))  # no frame twice, none before an older one
    for row in read(tmp_path / "latency" / "node.csv"):
        stages = {k: float(v) for k, v in row.items() if k != "stamp"}
        assert stages["age"] == pytest.approx(stages["age when begun"] + stages["step time"])
        assert stages["step time"] == pytest.approx(stages["decode"] + stages["look"] + stages["publish"])


def test_cameras_in_namespaces_are_measured_apart(tmp_path):
    output = tmp_path / "two.csv"
    process = subprocess.run(
        [
            sys.executable,
            "benchmarks/latency.py",
            "--cameras",
            "front",
            "rear",
            "--fps",
            "10",
            "--seconds",
            "4",
            "--output",
            str(output),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    rows = [r for r in read(output) if r["stage"] == "stamp to received"]
    assert [r["camera"] for r in rows] == ["front", "rear"]
    stamps = {}
    for row in rows:
        assert 0 < int(row["answered"]) <= int(row["sent"]) <= 40
        assert row["of_other_cameras"] == "0"
        stamps[row["camera"]] = {r["stamp"] for r in read(tmp_path / "two" / row["camera"] / "receiver.csv")}
    assert stamps["front"] and stamps["rear"] and not stamps["front"] & stamps["rear"]


def test_bad_input_is_one_line(tmp_path):
    process = subprocess.run(
        [sys.executable, "benchmarks/latency.py", "--input", str(tmp_path / "none.mp4")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1 and "none.mp4" in process.stderr


def test_the_committed_table_has_the_benchmarks_columns():
    rows = read(ROOT / "benchmarks" / "latency.csv")
    assert {"camera", "fps", "of_other_cameras"} <= set(rows[0])
    assert [r["stage"] for r in rows if r["seconds"] == "600"] == [
        "send",
        "age when begun",
        "decode",
        "look",
        "publish",
        "receive",
        "stamp to received",
    ]
    assert {r["older_than_a_period"] for r in rows} == {"0"}
    two = read(ROOT / "benchmarks" / "two_cameras.csv")
    assert list(two[0]) == list(rows[0])
    assert {r["camera"] for r in two} == {"front", "rear"} and {r["of_other_cameras"] for r in two} == {"0"}


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
