"""The command line as a user starts it: a process, its output, its exit code."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from conftest import ROOT
from rosbags.rosbag2 import Reader

from pvm_perception import Tracker
from pvm_perception.core.backend import find_gpu
from pvm_perception.streams.files import open_stream
from pvm_perception.streams.film import Film


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def one_line(process, *words):
    """Check that a process ended as it must on bad input."""
    assert process.returncode == 2, process.stderr
    lines = process.stderr.strip().splitlines()
    assert len(lines) == 1, process.stderr
    assert lines[0].startswith("pvm_perception: error: ")
    for word in words:
        assert word in lines[0]


def test_no_command_and_a_wrong_one(command_line):
    assert command_line().returncode == 2
    assert command_line("paint").returncode == 2


def test_track_writes_boxes_and_a_video(command_line, simulated, tmp_path):
    output, video = tmp_path / "sub" / "boxes.csv", tmp_path / "out.mp4"
    process = command_line("track", "--input", simulated, "--output", output, "--video", video)
    assert process.returncode == 0, process.stderr
    table = rows(output)
    assert list(table[0]) == ["frame", "target", "x", "y", "w", "h", "score", "id", "stamp"]
    names = {p.name for p in (simulated / "frames").iterdir()}
    for row in table:
        assert row["frame"] in names
        assert row["target"] in ("green_ball", "stop_sign")
        assert 0 <= float(row["score"]) <= 1
        assert float(row["w"]) > 0
    capture = cv2.VideoCapture(str(video))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 60


def test_track_says_why_auto_takes_the_cpu_and_nothing_unasked(command_line, simulated, tmp_path):
    for path in sorted((simulated / "frames").iterdir())[:3]:
        shutil.copy(path, tmp_path)
    for device, why in (((), ""), (("--device", "cpu"), ""), (("--device", "auto"), find_gpu()[1])):
        process = command_line("track", "--input", tmp_path, "--output", tmp_path / "o.csv", *device)
        assert process.returncode == 0
        assert process.stderr == (
            f"pvm_perception: warning: device 'auto' takes the CPU: {why}\n" if why else ""
        )


def test_track_names_frames_of_a_video_by_index(command_line, simulated, tmp_path):
    clip = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"mp4v"), 30, (320, 240))
    for path in sorted((simulated / "frames").iterdir())[:20]:
        writer.write(cv2.imread(str(path)))
    writer.release()
    output = tmp_path / "boxes.csv"
    process = command_line(
        "track",
        "--input",
        clip,
        "--output",
        output,
        "--targets",
        "green_ball",
        "--learn",
        "--horizon",
        2,
        "--save-model",
        tmp_path / "m.safetensors",
    )
    assert process.returncode == 0, process.stderr
    assert {r["target"] for r in rows(output)} <= {"green_ball"}
    assert {int(r["frame"]) for r in rows(output)} <= set(range(20))
    assert command_line("info", tmp_path / "m.safetensors").returncode == 0


@pytest.mark.parametrize(
    ("number", "extra"),
    [
        (signal.SIGTERM, ("--video", "o.mp4", "--output-bag", "o.mcap")),
        (signal.SIGHUP, ("--video", "o.webm")),
        (signal.SIGINT, ("--learn", "--save-model", "learnt.safetensors")),
    ],
)
def test_track_ends_in_good_order_on_a_signal(tmp_path, number, extra):
    texture = cv2.GaussianBlur(np.random.default_rng(1).random((96, 128, 3)), (0, 0), 3.0)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    with Film(tmp_path / "in.mp4", 30.0) as film:
        for k in range(3000):
            film.write(np.roll(texture, 2 * k, axis=1))
    process = subprocess.Popen(
        [sys.executable, "-m", "pvm_perception", "track", "--input", "in.mp4", "--output", "b.csv", *extra],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not list(tmp_path.glob("b.csv")):
        time.sleep(0.1)
    time.sleep(2)
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number, error
    frames = int(out.split()[0])
    assert 0 < frames < 3000
    assert (tmp_path / "b.csv").read_text().endswith("\n")
    assert {p.name for p in tmp_path.iterdir()} == {
        "in.mp4",
        "b.csv",
        *(word for word in extra if not word.startswith("--")),
    }
    if "--video" in extra:
        assert len(list(open_stream(tmp_path / extra[1]))) == frames
    if "o.mcap" in extra:
        with Reader(tmp_path / "o.mcap") as reader:
            assert reader.message_count == frames
    if "--learn" in extra:
        assert Tracker(model=tmp_path / "learnt.safetensors").info()["history"]["awake_steps"] > 0


def test_no_file_is_reported_as_written_that_is_not(command_line, simulated, tmp_path):
    one_line(command_line("track", "--input", simulated, "--output", "/dev/full"), "/dev/full", "No space")


def test_stills_do_not_depend_on_their_order(command_line, simulated, tmp_path):
    few = sorted((simulated / "frames").iterdir())[::15]
    tables = []
    for k, names in enumerate((few, few[::-1])):
        folder = tmp_path / str(k)
        folder.mkdir()
        for n, path in enumerate(names):
            shutil.copy(path, folder / f"{n}.jpg")
        output = tmp_path / f"{k}.csv"
        process = command_line("track", "--stills", "--input", folder, "--output", output)
        assert process.returncode == 0, process.stderr
        tables.append(
            sorted(
                (
                    len(few) - 1 - int(r["frame"][0]) if k else int(r["frame"][0]),
                    r["target"],
                    r["x"],
                    r["score"],
                )
                for r in rows(output)
            )
        )
    assert tables[0] == tables[1]


def test_simulate_then_evaluate(command_line, tmp_path):
    scene = tmp_path / "scene"
    process = command_line("simulate", "--output", scene, "--frames", 30, "--width", 320, "--height", 240)
    assert process.returncode == 0, process.stderr
    out = tmp_path / "results"
    process = command_line("evaluate", "--data", scene, "--output", out)
    assert process.returncode == 0, process.stderr
    assert "green_ball" in process.stdout
    results = json.loads((out / "results.json").read_text())
    assert results["sequences"][0]["frames"] == 30
    assert 0 <= results["means"]["green_ball"]["auc"] <= 1
    assert (out / "report.png").stat().st_size > 10_000
    again = command_line("simulate", "--output", scene, "--frames", 5)
    one_line(again, "not empty")


def test_train_resumes_and_leaves_model_and_curve(command_line, tmp_path):
    arguments = [
        "train",
        "--output",
        tmp_path,
        "--hours",
        0.05,
        "--streams",
        4,
        "--longest",
        6,
        "--validation-clips",
        16,
        "--calibration-scenes",
        2,
    ]
    process = command_line(*arguments, "--frames", 80)
    assert process.returncode == 0, process.stderr
    assert "auc_green_ball=" in process.stdout
    process = command_line(*arguments, "--frames", 40, "--from", tmp_path / "checkpoint.safetensors")
    assert process.returncode == 0, process.stderr
    curve = rows(tmp_path / "curve.csv")
    assert [int(r["frames"]) for r in curve] == [80, 120]
    assert (tmp_path / "curve.png").stat().st_size > 10_000
    info = json.loads(command_line("info", "--json", tmp_path / "model.safetensors").stdout)
    assert info["history"]["frames"] == 120 and len(info["history"]["calibration"]) == 2
    one_line(command_line("train", "--output", tmp_path, "--hours", -1), "--hours")
    one_line(command_line("train", "--output", tmp_path, "--photos", tmp_path / "none"), "photo")


def test_a_truncated_jpeg_loses_only_itself(command_line, simulated, tmp_path):
    for path in sorted((simulated / "frames").iterdir())[:6]:
        shutil.copy(path, tmp_path)
    cut = sorted(tmp_path.glob("*.jpg"))[3]
    cut.write_bytes(cut.read_bytes()[:4000])
    process = command_line("track", "--input", tmp_path, "--output", tmp_path / "o.csv")
    assert process.returncode == 0
    assert "5 frames" in process.stdout
    lines = process.stderr.strip().splitlines()
    assert len(lines) == 1 and cut.name in lines[0]
    for path in tmp_path.glob("*.jpg"):
        path.write_bytes(path.read_bytes()[:500])
    process = command_line("track", "--input", tmp_path, "--output", tmp_path / "o.csv")
    assert process.returncode == 2


def test_bad_input_is_one_line_and_exit_code_2(command_line, simulated, tmp_path):
    def track(*extra, source=simulated):
        return command_line("track", "--input", source, "--output", tmp_path / "o.csv", *extra)

    empty = tmp_path / "empty"
    empty.mkdir()
    one_line(track(source=empty), "no images")
    one_line(track(source=tmp_path / "none"), "does not exist")
    one_line(track("--targets", "cat"), "unknown target 'cat'", "green_ball")
    one_line(track("--device", "cuda"), "device")
    from pvm_perception.shipped import default_model

    half = tmp_path / "half.safetensors"
    data = default_model().read_bytes()
    half.write_bytes(data[: len(data) // 2])
    one_line(track("--model", half), "half.safetensors")
    one_line(command_line("info", half), "half.safetensors")
    one_line(command_line("info", tmp_path / "none"), "cannot be opened")
    one_line(command_line("evaluate", "--data", empty), "groundtruth.csv")
    wrong = tmp_path / "wrong"
    shutil.copytree(simulated, wrong)
    labels = wrong / "groundtruth.csv"
    labels.write_text(labels.read_text().replace("frame,target,x,", "frame,target,left,", 1))
    one_line(command_line("evaluate", "--data", wrong), "no column 'x'")
    one_line(track(source=wrong), "no column 'x'")
    one_line(command_line("track", "--input", simulated, "--output", "/proc/none/o.csv"), "cannot be written")
    one_line(command_line("demo", "--input", empty, "--output", tmp_path / "d"), "no images")
