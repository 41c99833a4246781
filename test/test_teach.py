"""`teach` as a process: a model, marks before and after, and what it refuses."""

import json
import re
import shutil

import pytest
from test_command_line import one_line

from pvm_perception.core.config import preset
from pvm_perception.errors import PvmError
from pvm_perception.streams.files import FolderStream
from pvm_perception.streams.stills import load_stills
from pvm_perception.training.teach import HELD_OUT, TAUGHT, Assessment, Lesson, check_sequences
from pvm_perception.training.validate import Validation


def test_teach_writes_a_model_that_says_how_it_was_made(command_line, simulated, tmp_path):
    output = tmp_path / "sub" / "mine.safetensors"
    process = command_line(
        "teach", "--data", simulated, "--output", output, "--minutes", 0.05, "--force", timeout=600
    )
    assert process.returncode == 0, process.stderr
    assert "60 labelled frames in 1 sequences: 48 to learn from, 12 held out" in process.stdout
    for line in (
        "held out +stop_sign +[a-z1 ]+",
        "generated +green_ball +auc",
        "generated +stop_sign +presence f1",
        "held out +mark",
        "generated +mark",
    ):
        assert re.search(rf"^{line} +[01]\.\d+ +[01]\.\d+$", process.stdout, re.MULTILINE), line
    history = json.loads(command_line("info", "--json", output).stdout)["history"]
    (lesson,) = history["taught"]
    assert lesson["from"] == "robot.safetensors"
    assert (lesson["data"], lesson["learnt"], lesson["held_out"]) == ([simulated.name], 48, 12)
    assert lesson["frames"] > 0
    assert set(lesson["before"]) == {"held_out", "generated"}
    assert "taught on 48 labelled frames" in command_line("info", output).stdout
    track = command_line("track", "--input", simulated, "--model", output, "--output", tmp_path / "boxes.csv")
    assert track.returncode == 0, track.stderr
    assert [p.name for p in output.parent.iterdir()] == [output.name]


def test_bad_input_is_one_line(command_line, simulated, tmp_path):
    def teach(data=simulated, *extra):
        return command_line(
            "teach", "--data", data, "--output", tmp_path / "m.safetensors", "--minutes", 0.05, *extra
        )

    empty = tmp_path / "empty"
    empty.mkdir()
    one_line(teach(empty), "no sequence with a groundtruth.csv")
    one_line(teach(tmp_path / "none"), "not a folder")
    (empty / "groundtruth.csv").write_text("frame,target,x,y,w,h\n")
    one_line(teach(empty), "no images")
    one_line(teach(simulated, "--from", tmp_path / "none"), "cannot be opened")
    one_line(teach(simulated, "--minutes", -1), "--minutes")
    one_line(command_line("teach", "--output", tmp_path / "m.safetensors"), "--data", "--forget")
    one_line(teach(simulated, "--photos", tmp_path / "none"), "photo")
    one_line(command_line("teach", "--data", simulated, "--output", "/proc/none/m"), "cannot be written")
    wrong = tmp_path / "wrong"
    shutil.copytree(simulated, wrong)
    labels = wrong / "groundtruth.csv"
    text = labels.read_text()
    labels.write_text(text.replace("green_ball", "_cup"))
    one_line(teach(wrong, "--minutes", 0), "'_cup'", "letter or digit")
    one_line(teach(wrong, "--forget", "cup"), "'cup' was never shown")
    labels.write_text("".join(text.splitlines(keepends=True)[:7]))
    one_line(teach(wrong), "3 labelled frames", "at least 5")
    assert not (tmp_path / "m.safetensors").exists()


def test_held_out_frames_are_the_last_fifth_and_never_taught(simulated):
    everything = [p.name for p in FolderStream(simulated).paths]
    taught = [s.path.name for s in load_stills(simulated, TAUGHT)]
    held_out = [p.name for p in FolderStream(simulated, part=HELD_OUT).paths]
    assert taught + held_out == everything
    assert len(held_out) == 12
    assert check_sequences([simulated]) == (48, 12)


def test_frames_without_a_label_do_not_count(simulated, tmp_path):
    shutil.copytree(simulated, tmp_path / "some")
    labels = tmp_path / "some" / "groundtruth.csv"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[:41]))
    held_out = [p.name for p in FolderStream(tmp_path / "some", part=HELD_OUT).paths]
    assert held_out == [f"{k:04d}.jpg" for k in range(16, 20)]
    labels.unlink()
    with pytest.raises(PvmError, match="no groundtruth"):
        check_sequences([tmp_path / "some"], preset("robot"))


@pytest.mark.parametrize(
    ("own", "general", "words"),
    [
        (0.6, 0.5, []),
        (0.6, 0.46, []),
        (0.5, 0.6, ["no better"]),
        (0.6, 0.44, ["lost more"]),
        (0.4, 0.4, ["no better", "lost more"]),
    ],
)
def test_what_is_worth_keeping(own, general, words):
    def assessment(own, general):
        nan = float("nan")
        return Assessment(
            {"green_ball": {"auc": own, "presence_f1": own, "false_alarms": nan}},
            Validation({"green_ball": general}, {"green_ball": general}, 1.0),
        )

    lesson = Lesson(preset("robot"), {}, {}, assessment(0.5, 0.5), assessment(own, general))
    found = lesson.failures()
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


def test_frames_without_a_target_are_marked_by_false_alarms():
    nan = float("nan")
    assessment = Assessment(
        {"green_ball": {"auc": nan, "presence_f1": nan, "false_alarms": 0.25}}, Validation({}, {}, 1.0)
    )
    assert assessment.held_out_mark == 0.75
    assert assessment.row()["held_out"] == {"false_alarms_green_ball": 0.25}
