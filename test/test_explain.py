"""A page that says why there is a box or none; from the command line and from the running node."""

import dataclasses
import html.parser
from pathlib import Path

import numpy as np
import pytest
from test_command_line import one_line

from pvm_perception import Tracker
from pvm_perception.errors import PvmError
from pvm_perception.explanation.facts import MEMORY, Facts, gather, without
from pvm_perception.explanation.moments import explain_moments
from pvm_perception.explanation.page import page, similar_moments
from pvm_perception.types import Detection, Frame, Track
from pvm_perception.vision.recent import Moment
from pvm_perception.vision.track_state import Belief
from pvm_perception.vision.tracker_settings import TrackerSettings

NETWORK = (128, 160)


class Seen(html.parser.HTMLParser):
    """What a page shows and fetches."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.words, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [v for k, v in attributes if k in ("src", "href", "data", "poster")]
        if tag not in ("meta", "img", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass  # of a drawing

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def facts():
    """Return facts that nobody measured: nothing seen, nothing believed."""
    return Facts(
        name="<b>7",
        target="green_ball",
        image=np.full((48, 64, 3), 90, np.uint8),
        expected=None,
        seen=None,
        surprise=np.ones((32, 40), np.float32),
        heat=np.zeros((16, 20), np.float32),
        fovea=None,
        detections=(),
        beliefs=(),
        tracks=(),
        settings=TrackerSettings(),
        history=(("0", 0.0, 0.0, False),),
        forecast=(float("nan"), float("nan")),
        light=0.4,
        cuts=(),
        model="robot.safetensors",
        known=("green_ball",),
    )


BOX = ("green_ball", 1.0, 2.0, 30.0, 30.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "in neither look did any cell"),
        ({"detections": (Detection(*BOX, 0.1),)}, "probability 0.10, too little for a track to begin"),
        (
            {"detections": (Detection(*BOX, 0.5),), "beliefs": (Belief("green_ball", 1, 0.34, 0, False),)},
            "no box yet.* 0.34, is below birth_score, 0.4",
        ),
        ({"beliefs": (Belief("green_ball", 4, 0.2, 2, True),)}, "track 4, 0.20, fell below keep_score, 0.25"),
        ({"beliefs": (Belief("green_ball", 4, 0.5, 3, True),)}, "track 4 has been without support for 3.0"),
        ({"tracks": (Track(*BOX, 0.7, 2, "confirmed"),)}, "There is a box: track 2 has evidence 0.70"),
        ({"tracks": (Track(*BOX, 0.5, 2, "coasting"),)}, "nothing in this frame supports it: track 2 coasts"),
    ],
)
def test_the_verdict_names_the_cause(facts, changes, words):
    import re

    assert re.search(words, dataclasses.replace(facts, **changes).verdict())


def test_a_page_stands_alone_and_escapes_what_it_quotes(facts):
    text = page(dataclasses.replace(facts, detections=(Detection("<i>x", 1, 2, 3, 4, 0.5),)), NETWORK)
    seen = Seen(text)
    assert seen.addresses and all(a.startswith("data:image/jpeg;base64,") for a in seen.addresses)
    assert "<b>7" not in text and "<i>x" not in text
    assert "green_ball at frame <b>7" in seen.words
    assert not seen.open


def test_a_page_says_how_thick_a_veil_was(facts):
    assert "40 % of the light came through" in page(facts, NETWORK)
    assert "came through" not in page(dataclasses.replace(facts, light=1.0), NETWORK)


def test_a_ball_in_view_is_explained_with_what_each_link_is_worth(ball_in_view):
    tracker = Tracker()
    frames = [Frame(ball_in_view, str(k), k / 30) for k in range(6)]
    found = gather(tracker, frames, "green_ball")
    assert found.name == "5"
    assert found.tracks and "There is a box" in found.verdict()
    assert [h[0] for h in found.history] == ["0", "1", "2", "3", "4", "5"]
    assert found.expected.shape == found.seen.shape
    whole, *cut = found.cuts
    assert (whole.links, whole.reported) == ("nothing cut", True)
    assert whole.score == pytest.approx(max(d.score for d in found.detections), abs=1e-6)
    kinds = ["lateral links", "feedback links", "global links", "links from the robot's motion", MEMORY]
    assert [c.links for c in cut] == kinds
    assert any(c.score != whole.score for c in cut)
    seen = Seen(page(found, NETWORK, [(ball_in_view, "00000001: differs by 0.00")]))
    assert len(seen.addresses) == 6
    absent = gather(tracker, frames, "stop_sign", links=False)
    assert not absent.tracks and "There is no box" in absent.verdict()
    with pytest.raises(PvmError, match="unknown target"):
        gather(tracker, frames, "moon")


def test_a_cut_leaves_weights_and_all_other_links_alone():
    tracker = Tracker()
    config, weights, _ = snapshot = tracker.snapshot()
    for words, (other, others, _) in without(snapshot)[1:]:
        gains = [(a.gain, b.gain) for a, b in zip(config.links, other.links, strict=True)]
        changed = [k for k, w in weights.items() if not np.array_equal(w, others[k])]
        if words == MEMORY:
            assert changed == ["readout.recall"] and all(a == b for a, b in gains)
        else:
            assert not changed
            assert any(a != b for a, b in gains) and all(b in (a, 0) for a, b in gains)


def test_the_last_moments_become_one_page_with_every_target(ball_in_view, tmp_path):
    tracker = Tracker()
    track = Track(*BOX, 0.7, 2, "confirmed")
    moments = [Moment(k / 30, 5 + k / 30, ball_in_view, (track,)) for k in range(4)]
    path = tmp_path / "why.html"
    explain_moments(path, moments, tracker.snapshot(), "cpu", TrackerSettings(), ("green_ball", "stop_sign"))
    seen = Seen(path.read_text())
    assert not seen.open
    assert "green_ball at frame 5.100 s" in seen.words and "stop_sign at frame 5.100 s" in seen.words
    assert "When the frame came, this was reported: green_ball 2 (0.70, confirmed)." in seen.words


def test_remembered_moments_that_resemble_the_frame(ball_in_view, tmp_path):
    from pvm_perception.living.moments import Moment as Remembered
    from pvm_perception.living.moments import MomentMemory

    memory = MomentMemory(tmp_path)
    for image in (ball_in_view, ball_in_view[::-1].copy(), np.zeros_like(ball_in_view)):
        memory.add(Remembered([image], [0.0], [None], [[]], [1.0]))
    found = similar_moments(tmp_path, ball_in_view, 2)
    assert len(found) == 2
    assert found[0][1].startswith("00000001: differs by 0.0")
    with pytest.raises(PvmError, match="not a folder"):
        similar_moments(tmp_path / "none", ball_in_view)


def test_the_command_line_writes_the_page(command_line, simulated, tmp_path):
    output = tmp_path / "why.html"
    process = command_line("explain", "--input", simulated, "--frame", 8, "--output", output)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("There is ")
    assert "green_ball at frame 0008.jpg" in Seen(output.read_text()).words
    one_line(
        command_line("explain", "--input", simulated, "--frame", 60, "--output", output),
        "has 60 frames",
        "--frame 60",
    )
    one_line(command_line("explain", "--input", simulated, "--frame", -1, "--output", output), "from 0")
    one_line(
        command_line("explain", "--input", simulated, "--frame", 0, "--target", "moon", "--output", output),
        "'moon'",
    )


def test_the_node_writes_its_page(robot, live_tracker, ball_in_view, tmp_path, monkeypatch):
    from std_srvs.srv import Trigger

    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    answer = robot.call(Trigger, "pvm_tracker/explain")
    assert not answer.success and "no image" in answer.message
    for _ in range(200):
        live_tracker.show(ball_in_view)
        if robot.heard["detections"]:
            break
    client = robot.node.create_client(Trigger, "pvm_tracker/explain")
    robot.until(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    robot.until(future.done, 120)
    answer = future.result()
    robot.node.destroy_client(client)
    assert answer.success, answer.message
    text = Path(answer.message).read_text()
    assert "this was reported" in text and not Seen(text).open
