"""The demo's counts and page, from tables as its processes leave them; nothing runs here."""

import argparse
import csv
import re

import cv2
import numpy as np
import pytest

from pvm_perception.commands import demo
from pvm_perception.evaluation.demo_report import Tally
from pvm_perception.types import Box, Track


def test_a_tally_counts_targets_overlaps_and_false_boxes_on_all_frames():
    tally, ball = Tally(), Box("green_ball", 10, 10, 20, 20)
    tally.add([Track("green_ball", 10, 10, 20, 20, 0.9, 1)], [ball])
    tally.add([Track("green_ball", 10, 10, 20, 10, 0.9, 1)], [ball])  # half of it
    tally.add([], [ball])
    tally.add([Track("stop_sign", 10, 10, 20, 20, 0.9, 2)], [ball])  # the wrong name
    tally.add([Track("stop_sign", 10, 10, 20, 20, 0.9, 2)], [])
    tally.add([], [])
    assert (tally.frames, tally.wanted, tally.found, tally.wrong) == (6, 4, 2, 2)
    assert tally.mean_iou == pytest.approx(0.75)
    assert tally.words() == (
        "boxes on 50 % of 4 targets in view, mean IoU 0.75; false boxes on 2 of 6 frames"
    )
    empty = Tally()
    empty.add([], [])
    assert empty.words() == "no target; false boxes on 0 of 1 frames"


def table(path, columns, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.mark.parametrize(("source", "scenes"), [("simulator", 2), ("drive", 0)])
def test_the_report_is_a_page_with_a_video_that_browsers_play(tmp_path, capsys, source, scenes):
    frames = tmp_path / "frames"
    frames.mkdir()
    sent, received = [], []
    for k in range(12):
        stamp = 10**18 + k * 10**9 // 2  # two frames a second: a scene has six
        cv2.imwrite(str(frames / f"{stamp}.jpg"), np.full((120, 160, 3), 90, np.uint8))
        sent.append([stamp, k, 1, *(("green_ball", 10, 20, 30, 30) if k < 6 else [""] * 5)])
        found = ("green_ball", 10, 20, 30, 30, 0.8, 1) if k != 3 else [""] * 7
        received.append([stamp, 5.0 + k, *found])
    table(tmp_path / "truth.csv", ["stamp", "frame", "known", "target", "x", "y", "w", "h"], sent)
    columns = ["stamp", "latency_ms", "target", "x", "y", "w", "h", "score", "id"]
    table(tmp_path / "received.csv", columns, received[:-1])  # one never came back
    args = argparse.Namespace(output=tmp_path, input=source, fps=2.0)
    assert demo._report(args, frames) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"demo: frames=11 boxes=10 mean_iou=1\.000 latency_ms_p50=10\.0 latency_ms_p99=14\.9", lines[-1]
    )
    assert (
        "demo: all: boxes on 83 % of 6 targets in view, mean IoU 1.00; false boxes on 5 of 11 frames" in lines
    )
    assert len([line for line in lines if line.startswith("demo: scene ")]) == scenes
    page = (tmp_path / "index.html").read_text()
    assert lines[-1] in page and 'src="demo.webm"' in page
    assert page.count("<tr>") == scenes + 2
    video = (tmp_path / "demo.webm").read_bytes()
    assert video[:4] == b"\x1a\x45\xdf\xa3" and b"webm" in video[:64] and b"V_VP8" in video
    assert not frames.exists()
