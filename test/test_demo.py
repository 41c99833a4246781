"""The demo's counts and page, from tables as its processes leave them; nothing runs here."""

import argparse
import csv
import re

import cv2
import numpy as np
import pytest

from pvm_perception.commands import demo
from pvm_perception.evaluation.demo_report import Tally
from pvm_perception.streams.files import open_stream
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
    faint, doubtful = Tally(), Box("green_ball", 0, 10, 9, 20, weight=0.0)  # all but out of view
    faint.add([], [doubtful])
    faint.add([Track("green_ball", 0, 10, 9, 20, 0.9, 1)], [doubtful])
    faint.add([Track("green_ball", 90, 10, 9, 20, 0.9, 1)], [doubtful])
    assert (faint.wanted, faint.wrong) == (0, 1)
    empty = Tally()
    empty.add([], [])
    assert empty.words() == "no target; false boxes on 0 of 1 frames"


def table(path, columns, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.mark.parametrize(
    ("source", "days", "scenes"),
    [("simulator", ("", ""), 2), ("clip", ("", ""), 0), ("clip", ("noon", "dusk"), 2)],
)
def test_the_report_is_a_page_with_a_video_that_browsers_play(tmp_path, capsys, source, days, scenes):
    frames = tmp_path / "frames"
    frames.mkdir()
    sent, received = [], []
    for k in range(12):
        stamp = 10**18 + k * 10**9 // 2  # two frames a second: a scene has six
        cv2.imwrite(str(frames / f"{stamp}.jpg"), np.full((120, 160, 3), 90, np.uint8))
        for name in demo.VIEWS if k != 5 else ():  # of one frame nothing came
            cv2.imwrite(str(frames / f"{stamp}.{name}.png"), np.full((12, 16, 3), 20 * k, np.uint8))
        sent.append([stamp, k, 1, days[k // 6], *(("green_ball", 10, 20, 30, 30, 1) if k < 6 else [""] * 6)])
        found = ("green_ball", 10, 20, 30, 30, 0.8, 1) if k != 3 else [""] * 7
        received.append([stamp, 5.0 + k, *found])
    columns = ["stamp", "frame", "known", "scene", "target", "x", "y", "w", "h", "weight"]
    table(tmp_path / "truth.csv", columns, sent)
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
    film = cv2.VideoCapture(str(tmp_path / "demo.webm"))
    shown = [film.read()[1] for _ in range(12)]
    assert shown[0].shape == (120, 160 + 54, 3)
    for k, picture in enumerate(shown):
        expected, surprise = (float(picture[row : row + 20, 170:].mean()) for row in (18, 58))
        assert expected == pytest.approx(20 * (k - 1) if k not in (0, 6) else 0, abs=4)  # one frame earlier
        assert surprise == pytest.approx(20 * k if k != 5 else 0, abs=4)


def test_the_usual_input_is_the_rendered_drive_and_every_frame_of_it_has_its_truth():
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    stream = open_stream(parser.parse_args([]).input)
    frames = list(stream)
    rows, cols = frames[0].image.shape[:2]
    assert [frame.name for frame in frames] == list(stream.truth.boxes)
    assert list(dict.fromkeys(stream.truth.scenes.values())) == ["noon", "shadow", "dusk", "lamp", "rain"]
    boxes = [b for frame in frames for b in frame.boxes]
    assert {b.target for b in boxes} == {"green_ball", "stop_sign"}
    for b in boxes:
        assert b.x >= 0 and b.y >= 0 and b.x + b.w <= cols + 0.01 and b.y + b.h <= rows + 0.01
