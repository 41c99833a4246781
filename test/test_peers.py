"""Each peer on a disc that moves over grey; the command line with them; the detectors where they are."""

import csv
import functools
import shutil

import cv2
import numpy as np
import pytest

from pvm_perception.errors import PvmError
from pvm_perception.evaluation.colour_detector import ColourDetector
from pvm_perception.evaluation.constant_velocity import forecaster
from pvm_perception.evaluation.evaluate import measure_sequence
from pvm_perception.evaluation.metrics import overlap
from pvm_perception.evaluation.peer_process import HOW, PeerProcess
from pvm_perception.evaluation.peers import PEERS, _inside, run_peer
from pvm_perception.evaluation.report import HEAD, MARGIN, THUMB, draw_sheet
from pvm_perception.streams.groundtruth import write_groundtruth
from pvm_perception.types import TARGETS, Box, Track
from pvm_perception.vision.draw import WHITE

BGR = {"green_ball": (40, 190, 60), "stop_sign": (40, 30, 200)}


def octagon(x, y, radius):
    angles = np.pi / 8 + np.arange(8) * np.pi / 4
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1).round().astype(int)


def picture(target, x, y, radius=22):
    """Return a grey picture of 160×120 with one target, and its box."""
    noise = np.random.default_rng(0).integers(-12, 12, (120, 160, 1))
    image = np.repeat(120 + noise, 3, 2).astype(np.uint8)
    if target == "green_ball":
        cv2.circle(image, (x, y), radius, BGR[target], -1)
        cv2.circle(image, (x - 8, y - 8), 5, (150, 230, 160), -1)
        half = radius
    else:
        cv2.fillPoly(image, [octagon(x, y, radius)], BGR[target])
        cv2.rectangle(image, (x - 9, y - 4), (x + 9, y + 4), (230, 230, 230), -1)
        half = radius * np.cos(np.pi / 8)
    return image, Box(target, x - half, y - half, 2 * half, 2 * half)


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """Return a folder by target: two frames without it, then 18 in which it crosses the picture."""
    folders = {}
    for target in TARGETS:
        folder, labels = tmp_path_factory.mktemp("moving") / target, []
        folder.mkdir()
        for k in range(20):
            image, box = picture(target, 40 + 4 * k, 45 + 2 * (k % 10))
            if k < 2:
                image[:] = 120
            cv2.imwrite(str(folder / f"{k:02}.png"), image)
            labels.append((f"{k:02}.png", [box] if k >= 2 else []))
        write_groundtruth(folder / "groundtruth.csv", labels, TARGETS)
        folders[target] = folder
    return folders


@functools.cache
def peer(name):
    if not PEERS[name].installed:
        pytest.skip(f"{name} is not installed; {HOW}")
    return PEERS[name]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("name", "least"),
    [("template", 0.8), ("CamShift", 0.4), ("HSV + Kalman", 0.75), ("KCF", 0.6), ("CSRT", 0.6)],
)
def test_a_peer_finds_what_moves(moving, name, least, target):
    results = run_peer(peer(name), moving[target], [target])
    assert [r.target for r in results] == [target]
    row = results[0].row()
    assert row["frames"] == 20 and row["with_target"] == 18
    assert row["auc"] > least
    assert row["false_alarms"] == 0
    assert row["ms_per_frame"] > 0


def test_nothing_scores_nothing_and_the_centre_box_is_always_there(moving):
    row = run_peer(PEERS["nothing"], moving["green_ball"], ["green_ball"])[0].row()
    assert row["auc"] == row["lt_f"] == row["presence_f1"] == row["false_alarms"] == 0
    row = run_peer(PEERS["centre box"], moving["green_ball"], ["green_ball"])[0].row()
    assert 0 < row["auc"] < 0.6
    assert row["false_alarms"] == 1


@pytest.mark.parametrize("name", [n for n in PEERS if PEERS[n].given])
def test_who_is_given_a_box_starts_with_it_and_gets_no_other(moving, name):
    folder = moving["stop_sign"]
    shots = run_peer(peer(name), folder, ["stop_sign"])[0].shots
    assert [s.score >= 0 for s in shots[:3]] == [False, False, True]
    assert shots[2].iou == pytest.approx(1)
    assert run_peer(peer(name), folder, ["green_ball"]) == []  # it never comes: nothing to give


def oracle(frame):
    """Answer with the truth."""
    return [Track(b.target, b.x, b.y, b.w, b.h, 1.0, 0) for b in frame.boxes], 0.001


def test_a_forecast_makes_up_for_coming_late(moving):
    """A perfect detector: late, its boxes lie behind; forecast, they don't, but where it turns."""
    folder = moving["green_ball"]
    (late,) = measure_sequence(folder, ["green_ball"], oracle)
    (ahead,) = measure_sequence(folder, ["green_ball"], oracle, forecast=forecaster())
    assert late.row()["auc"] == ahead.row()["auc"] == pytest.approx(0.995, abs=0.01)
    assert late.row()["late_auc"] == late.row()["streaming_auc"] == ahead.row()["late_auc"]
    assert ahead.row()["streaming_auc"] > ahead.row()["late_auc"] + 0.05
    steady = [s.iou for s in ahead.ahead if s.frame in ("09.png", "18.png")]
    assert min(steady) > 0.95
    peers = run_peer(PEERS["HSV + Kalman"], folder, ["green_ball"])[0].row()
    assert peers["streaming_auc"] > peers["late_auc"]


@pytest.mark.parametrize("scale", [1, 4])
def test_a_forecast_goes_on_through_a_gap_and_then_ends(scale):
    forecast = forecaster()
    answers = []
    for k in range(20):
        seen = [
            Track("green_ball", scale * 5.0 * k, 10.0 * scale, scale * 20.0, scale * 22.0, 0.9, 0),
            Track("green_ball", 0.0, 0.0, 9.0, 9.0, 0.1, 0),
        ]  # a worse one, which does not count
        answers.append(forecast(seen if k < 10 else []))
    assert [len(a) for a in answers] == [1] * 15 + [0] * 5
    for k in (7, 9, 14):
        (t,) = answers[k]
        assert t.target == "green_ball"
        assert np.array([t.x, t.y, t.w, t.h]) / scale == pytest.approx([5 * (k + 1), 10, 20, 22], abs=1)
    assert forecast([Track("stop_sign", 0.0, 0.0, 9.0, 9.0, 1.0, 0)])[0].target == "stop_sign"


def test_stills_carry_nothing_on(moving, tmp_path):
    stills = tmp_path / "few_stills"
    stills.mkdir()
    labels = []
    for k in range(3):
        image, box = picture("green_ball", 60 + 20 * k, 60)
        if k == 1:
            image[:], box = 120, None
        cv2.imwrite(str(stills / f"{k}.png"), image)
        labels.append((f"{k}.png", [box] if box else []))
    write_groundtruth(stills / "groundtruth.csv", labels, ["green_ball"])
    shots = run_peer(PEERS["HSV + Kalman"], stills, TARGETS)[0].shots
    assert [s.score >= 0 for s in shots] == [True, False, True]
    assert run_peer(PEERS["template"], stills, TARGETS) == []


def test_the_colour_detector_minds_shape_and_bridges_a_gap():
    square = np.full((120, 160, 3), 120, np.uint8)
    cv2.rectangle(square, (30, 50), (130, 62), BGR["green_ball"], -1)
    assert ColourDetector("green_ball").update(square) == []
    detector = ColourDetector("green_ball")
    assert detector.update(picture("green_ball", 60, 60)[0])
    blank = np.full((120, 160, 3), 120, np.uint8)
    answers = [detector.update(blank) for _ in range(8)]
    assert [bool(a) for a in answers] == [True] * detector.filter.coast + [False] * 3
    assert ColourDetector("cat").update(blank) == []


def test_a_box_is_cut_to_the_picture():
    image = np.zeros((120, 160, 3), np.uint8)
    assert _inside((-5.2, 100, 30, 40), image) == (0, 100, 25, 20)
    assert _inside((170, 130, 5, 5), image) == (158, 118, 2, 2)


def test_a_process_that_breaks_says_why(tmp_path):
    with pytest.raises(PvmError, match="nanodet is not installed; `make peers`"):
        PeerProcess(None, "nanodet")
    python = peer("CSRT").python()
    with pytest.raises(PvmError, match="cat broke: KeyError"):
        PeerProcess(python, "cat").ask(np.zeros((20, 20, 3), np.uint8))


@pytest.mark.parametrize("name", ["NanoDet", "CenterNet"])
def test_a_detector_sees_a_drawn_stop_sign(name):
    image = np.full((240, 320, 3), (200, 170, 140), np.uint8)  # wider than high: it gets bars
    image[170:] = 70, 110, 90
    cv2.fillPoly(image, [octagon(160, 100, 58)], (240, 240, 240))
    cv2.fillPoly(image, [octagon(160, 100, 54)], (40, 30, 190))
    cv2.putText(image, "STOP", (116, 114), cv2.FONT_HERSHEY_SIMPLEX, 1.25, (240, 240, 240), 5)
    method = peer(name).make(TARGETS)
    found = method.update(image)
    assert [t.target for t in found] == ["stop_sign"]
    assert found[0].score > 0.7
    side = 2 * 58 * np.cos(np.pi / 8)
    truth = np.array([160 - side / 2, 100 - side / 2, side, side])
    assert overlap(np.array([found[0].x, found[0].y, found[0].w, found[0].h]), truth) > 0.85
    assert method.milliseconds > 0
    assert peer(name).make(("green_ball",)).update(image) == []  # nobody asked for the sign
    assert method.update(np.full((240, 320, 3), 120, np.uint8)) == []


def test_a_contact_sheet_shows_truth_boxes_and_what_was_missed(moving, tmp_path):
    folder = moving["green_ball"]
    right = measure_sequence(folder, ["green_ball"], oracle)
    for k, shot in enumerate(right[0].shots):
        if k in (4, 13):  # ours are the worst there
            shot.iou, shot.box = 0.1, (0.0, 0.0, 20.0, 20.0)
    methods = {"ours": right, "elsewhere": [], "nothing": run_peer(PEERS["nothing"], folder, TARGETS)}
    draw_sheet(methods, folder, tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    columns = [0, 4, 5, 10, 13, 14, 19]  # evenly spread, and the worst of each half
    assert sheet.shape == (HEAD + 2 * THUMB[1], MARGIN + len(columns) * THUMB[0], 3)
    ours, theirs = np.array([180, 119, 31]), np.array([44, 160, 44])  # blue, green: first and third
    for k, index in enumerate(columns):
        x = MARGIN + k * THUMB[0]
        cells = [sheet[HEAD + row * THUMB[1] :][: THUMB[1], x : x + THUMB[0]] for row in (0, 1)]
        _, box = picture("green_ball", 40 + 4 * index, 45 + 2 * (index % 10))
        left, top = round(1.5 * box.x), round(1.5 * (box.y + box.h / 2))  # 160 px wide, shown as 240
        if index == 0:  # nothing there, nothing reported
            assert not any((np.abs(c - WHITE).max(2) < 30).any() for c in cells)
            continue
        found = cells[0][top, left]
        assert (found == (255 if index in (4, 13) else ours)).all()
        if index in (4, 13):
            assert (cells[0][20, 30] == ours).all()  # the box in the wrong place
        assert (cells[1][top, left] == 255).all()
        assert (np.abs(cells[1][-20:, :80] - theirs).max(2) < 30).any()  # "missed"


def test_a_contact_sheet_of_few_frames_shows_each_once(moving, tmp_path):
    folder = moving["green_ball"]
    for count in (1, 3, 6):
        results = measure_sequence(folder, ["green_ball"], oracle)
        results[0].shots = results[0].shots[-count:]
        draw_sheet({"ours": results}, folder, tmp_path / "sheet.png")
        sheet = cv2.imread(str(tmp_path / "sheet.png"))
        assert sheet.shape == (HEAD + THUMB[1], MARGIN + count * THUMB[0], 3)


def test_the_command_line_compares(command_line, simulated, tmp_path):
    scene = tmp_path / "scene"
    shutil.copytree(simulated, scene)
    for k, path in enumerate(sorted((scene / "frames").iterdir())):
        if k % 5:
            path.unlink()
    process = command_line("evaluate", "--data", scene, "--output", tmp_path, "--peers")
    assert process.returncode == 0, process.stderr
    ready = [n for n, p in PEERS.items() if p.installed]
    with (tmp_path / "peers.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert {r["method"] for r in table} == {"pvm_perception", *ready}
    means = {(r["method"], r["target"]): r for r in table if r["sequence"] == "mean"}
    assert float(means["nothing", "green_ball"]["auc"]) == 0
    assert {r["method"] for r in table if r["given_first_box"] == "1"} == {n for n in ready if PEERS[n].given}
    assert (tmp_path / "peers.png").stat().st_size > 10_000
    ran = {r["method"] for r in table if r["sequence"] == "scene"}
    sheet = cv2.imread(str(tmp_path / "sheets" / "scene.jpg"))
    assert sheet.shape[0] == HEAD + len(ran) * THUMB[1]
    left = [n for n in PEERS if n not in ready]
    assert ("left out: " + ", ".join(left) in process.stdout) == bool(left)
