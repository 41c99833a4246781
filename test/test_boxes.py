"""Measures over all boxes, and of tracks, against cases that can be worked out by hand."""

import cv2
import numpy as np
import pytest

from pvm_perception.errors import PvmError
from pvm_perception.evaluation.boxes import FrameBoxes, box_measures, first_detection, scores_and_hits
from pvm_perception.evaluation.evaluate import Result, pooled_scores, shot, summary
from pvm_perception.evaluation.gallery import ACROSS, draw_false_boxes, false_boxes
from pvm_perception.evaluation.identity import MEASURES, installed, track_measures
from pvm_perception.evaluation.metrics import average_precision
from pvm_perception.evaluation.report import HEAD, THUMB
from pvm_perception.streams.groundtruth import read_groundtruth
from pvm_perception.types import Box, Frame, Track
from pvm_perception.vision.draw import colour_of

IMAGE = np.zeros((100, 200, 3), np.uint8)
needs_trackeval = pytest.mark.skipif(
    not installed(), reason="no TrackEval here; pip install --no-deps -r requirements/tracks.txt"
)


def frame(truth, tracks, name="0"):
    """Take boxes (x, y, w, h) and tracks (x, y, w, h, score, id) of target "a"."""
    boxes = tuple(Box("a", *b[:4], id=b[4] if len(b) > 4 else None) for b in truth)
    return FrameBoxes.of(Frame(IMAGE, name, boxes=boxes), "a", [Track("a", *t) for t in tracks])


def test_each_target_is_found_once_and_by_its_best_scored_box():
    f = frame(
        [(0, 0, 10, 10), (50, 0, 10, 10)],
        [(0, 0, 10, 10, 0.6, 1), (1, 0, 10, 10, 0.9, 2), (90, 90, 5, 5, 0.8, 3), (50, 0, 10, 18, 0.3, 4)],
    )
    assert f.hits.tolist() == [False, True, False, True]  # 10/18 = 0.56
    assert f.strays.tolist() == [False, False, True, False]
    np.testing.assert_allclose(f.overlaps[1], [9 / 11, 0])
    assert f.instances.tolist() == [0, 1]


def test_other_targets_boxes_are_not_its_own():
    found = Frame(IMAGE, "0", boxes=(Box("b", 0, 0, 10, 10),))
    f = FrameBoxes.of(found, "a", [Track("b", 0, 0, 10, 10, 1.0, 1)])
    assert (len(f.boxes), len(f.truth), len(f.hits)) == (0, 0, 0)


def test_what_may_be_a_target_or_not_neither_counts_for_nor_against():
    doubtful = Box("a", 0, 0, 10, 10, weight=0.0)
    at = Frame(IMAGE, "0", boxes=(doubtful, Box("a", 50, 0, 10, 10)))
    on, beside, right = (Track("a", x, 0, 10, 10, 0.9, k) for k, x in enumerate((0, 90, 50)))
    f = FrameBoxes.of(at, "a", [on, beside, right])
    assert (len(f.truth), f.ids.tolist(), f.hits.tolist()) == (1, [1, 2], [False, True])
    assert FrameBoxes.of(at, "a", []).truth.tolist() == [[50, 0, 10, 10]]
    alone = Frame(IMAGE, "0", boxes=(doubtful,))
    assert shot(alone, "a", [on]) == shot(alone, "a", [])
    assert shot(alone, "a", [beside]).score == 0.9
    assert not shot(alone, "a", [on]).present


def test_average_precision_by_hand():
    """Right, false, right of 4 targets: precision 1 up to a recall of 1/4, then 2/3 up to 1/2."""
    assert average_precision([0.9, 0.8, 0.7], [True, False, True], 4) == pytest.approx((1 + 2 / 3) / 4)
    # false, right, right of 2: the best precision at each recall is that of all three boxes
    assert average_precision([0.7, 0.9, 0.8], [True, False, True], 2) == pytest.approx(2 / 3)
    assert average_precision([], [], 3) == 0
    assert np.isnan(average_precision([0.5], [False], 0))


def test_box_measures_by_hand():
    """Of four frames one has a second, stray box, one a box that is too large, one stray boxes alone."""
    frames = [
        frame([(0, 0, 10, 10)], [(0, 0, 10, 10, 0.9, 1), (80, 80, 9, 9, 0.5, 2)]),
        frame([(0, 0, 10, 10)], [(0, 0, 20, 20, 0.8, 1)]),
        frame([], [(20, 20, 5, 5, 0.4, 3), (60, 60, 5, 5, 0.3, 4)]),
        frame([(0, 0, 10, 10)], []),
    ]
    found = box_measures(frames)
    assert found["precision_50"] == 1 / 5
    assert found["recall_50"] == pytest.approx(1 / 3)
    assert found["ap_50"] == pytest.approx(1 / 3)
    assert found["false_boxes"] == 4 / 4
    assert found["stray_boxes"] == 3 / 4
    assert found["stray_frames"] == 2 / 4
    scores, hits = scores_and_hits(frames)
    assert scores.tolist() == [0.9, 0.5, 0.8, 0.4, 0.3]
    assert hits.tolist() == [True, False, False, False, False]
    empty = box_measures([frame([], [])])
    assert (empty["false_boxes"], empty["stray_frames"]) == (0, 0)
    assert np.isnan([empty["precision_50"], empty["recall_50"], empty["ap_50"]]).all()


def test_size_at_the_first_right_box_of_what_comes_nearer():
    def seen(sides, found):
        return [
            frame([(0, 0, s, s / 2)], [(0, 0, s, s / 2, 0.9, 1)] if k in found else [])
            for k, s in enumerate(sides)
        ]

    sides = [10, 12, 14, 16, 18, 20, 22, 24]
    assert first_detection([frame([], []), *seen(sides, {3, 4, 5})]) == {"start_px": 10, "first_px": 16}
    never = first_detection(seen(sides, ()))
    assert never["start_px"] == 10
    assert np.isnan(never["first_px"])
    for others in (seen([20] * 8, {0}), seen(sides[::-1], {0}), [frame([], [])]):
        assert np.isnan(list(first_detection(others).values())).all()


@needs_trackeval
def test_tracks_by_hand():
    """Three frames; the third has another id: one switch, and the longest identity covers two of three."""
    box = (0, 0, 10, 10)
    found = track_measures(
        [
            frame([box], [(*box, 0.9, 7)], "0"),
            frame([box], [(*box, 0.9, 7)], "1"),
            frame([box], [(*box, 0.9, 9)], "2"),
        ]
    )
    assert found["id_switches"] == 1
    assert found["mota"] == pytest.approx(1 - 1 / 3)
    assert found["idf1"] == pytest.approx(2 / 3)  # two of three, both ways
    # all boxes are exact; association: of the pairs (target, 7) 2/3, of (target, 9) 1/3, by frames
    assert found["hota"] == pytest.approx(np.sqrt((2 * 2 / 3 + 1 / 3) / 3), abs=1e-6)


@needs_trackeval
def test_ids_of_the_labels_tell_targets_apart_where_their_order_changes():
    left, right = (0, 0, 10, 10), (50, 0, 10, 10)
    reported = [(*left, 0.9, 1), (*right, 0.8, 2)]
    frames = [
        frame([(*left, 5), (*right, 6)], reported, "0"),
        frame([(*right, 6), (*left, 5)], reported, "1"),
    ]
    assert track_measures(frames)["id_switches"] == 0
    assert track_measures(frames)["idf1"] == 1
    assert (
        track_measures([frame([left, right], reported), frame([right, left], reported)])["id_switches"] == 2
    )


def test_without_targets_or_with_boxes_that_are_no_tracks_there_is_nothing_to_measure():
    box = (0, 0, 10, 10)
    for frames in ([], [frame([], [(*box, 0.9, 1)])], [frame([box], [(*box, 0.9, 0), (*box, 0.8, 0)])]):
        found = track_measures(frames)
        assert set(found) == set(MEASURES)
        assert np.isnan(list(found.values())).all()


def test_means_take_all_boxes_together_and_stills_have_no_tracks():
    box = (0, 0, 10, 10)
    one = Result("one", "a", boxes=[frame([box], [(*box, 0.9, 1)])])
    two = Result("two_stills", "a", boxes=[frame([], [(*box, 0.2, 1)])] * 3, stills=True)
    mean = summary([one, two])["a"]
    assert mean["precision_50"] == 1 / 4
    assert mean["false_boxes"] == 3 / 4
    assert mean["calibration_error"] == pytest.approx((0.1 + 3 * 0.2) / 4)
    assert pooled_scores([one, two], "a")[0].tolist() == [0.9, 0.2, 0.2, 0.2]
    assert np.isnan(two.row()["hota"])


def test_labels_may_name_the_instance(tmp_path):
    labels = tmp_path / "groundtruth.csv"
    labels.write_text("frame,target,x,y,w,h,visible_fraction,id\n0.jpg,a,1,2,3,4,0.5,7\n0.jpg,a,1,2,3,4,,\n")
    assert [(b.visible, b.id) for b in read_groundtruth(labels).boxes["0.jpg"]] == [(0.5, 7), (1.0, None)]
    labels.write_text("frame,target,x,y,w,h,id\n0.jpg,a,1,2,3,4,first\n")
    with pytest.raises(PvmError, match=r"line 2: .*whole number"):
        read_groundtruth(labels)


def test_the_gallery_shows_each_track_with_false_boxes_once(tmp_path):
    """The first track is false in two of its three frames, the second in one; a sheet of two tiles."""
    folder = tmp_path / "park"
    folder.mkdir()
    for k in range(3):
        cv2.imwrite(str(folder / f"{k}.png"), IMAGE)
    (folder / "groundtruth.csv").write_text(
        "frame,target,x,y,w,h\n0.png,a,0,0,10,10\n1.png,a,,,,\n2.png,a,,,,\n"
    )
    box = (0, 0, 10, 10)
    r = Result(
        "park",
        "a",
        boxes=[
            frame([box], [(*box, 0.9, 1)], "0.png"),
            frame([], [(*box, 0.5, 1), (60, 60, 20, 20, 0.7, 2)], "1.png"),
            frame([], [(*box, 0.6, 1)], "2.png"),
        ],
    )
    found = false_boxes([r])
    assert [(b.frame, b.box[4], b.frames) for b in found] == [("2.png", 0.6, 2), ("1.png", 0.7, 1)]
    sheet = tmp_path / "false_boxes.png"
    assert draw_false_boxes([r], {"park": folder}, sheet) == 2
    picture = cv2.imread(str(sheet))
    assert picture.shape == (2 * HEAD + THUMB[1], ACROSS * THUMB[0], 3)
    tile = picture[2 * HEAD :, : THUMB[0]]  # 64 px high, so 180 / 64 of the source's size around (5, 5)
    left = round(THUMB[0] / 2 - 5 * THUMB[1] / 64)
    assert (tile[90, left] == colour_of("a")).all()
    assert draw_false_boxes([Result("park", "a", boxes=[frame([], [])])], {"park": folder}, sheet) == 0
