"""`teach`: a model, marks before and after, and what it refuses."""

import json
import re
import shutil

import pytest
from test_command_line import one_line

from pvm_perception.__main__ import main
from pvm_perception.core.config import preset
from pvm_perception.errors import PvmError
from pvm_perception.streams.files import FolderStream
from pvm_perception.streams.hold_out import held_out_block
from pvm_perception.streams.stills import load_stills
from pvm_perception.training import teach as teaching
from pvm_perception.training.teach import Assessment, HoldOut, Lesson, check_sequences
from pvm_perception.training.validate import Validation


def test_teach_writes_a_model_that_says_how_it_was_made(
    command_line, simulated, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(teaching, "VALIDATION_CLIPS", 16)
    monkeypatch.setattr(teaching, "CALIBRATION_SCENES", 4)
    output = tmp_path / "sub" / "mine.safetensors"
    arguments = ["teach", "--data", str(simulated), "--output", str(output)]
    assert main([*arguments, "--minutes", "0.05", "--force"]) == 0
    said = capsys.readouterr().out
    assert "60 labelled frames in 1 sequences: 48 to learn from, 12 held out" in said
    for line in (
        "held out +stop_sign +[a-z1 ]+",
        "generated +green_ball +auc",
        "generated +stop_sign +presence f1",
        "held out +mark",
        "generated +mark",
    ):
        assert re.search(rf"^{line} +[01]\.\d+ +[01]\.\d+$", said, re.MULTILINE), line
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


def test_held_out_frames_are_a_fifth_in_a_row_and_never_taught(simulated):
    everything = [p.name for p in FolderStream(simulated).paths]
    taught = [s.path.name for s in load_stills(simulated, "taught")]
    held_out = [p.name for p in FolderStream(simulated, part="held out").paths]
    assert sorted(taught + held_out) == everything
    first = everything.index(held_out[0])
    assert held_out == everything[first : first + 12]  # in a row
    assert len(held_out) == 12
    parts = check_sequences([simulated])
    assert (parts.learnt, parts.held_out) == (48, 12)
    assert 0 < parts.with_target < 12 and not parts.doubt()


@pytest.mark.parametrize(
    ("shown", "block"),
    [
        ("1" * 30 + "0" * 10, range(24, 32)),  # six and two, as in the whole; the last by name are all empty
        ("0" * 10 + "1" * 30, range(8, 16)),
        ("1" * 10, range(8, 10)),
        ("0" * 10, range(8, 10)),
        ("0000100000", range(4, 6)),  # the only one is held out: without it there is nothing to examine
        ("10" * 10, range(16, 20)),
        ("11111", range(4, 5)),
    ],
)
def test_both_kinds_of_frames_are_held_out(shown, block):
    assert held_out_block([s == "1" for s in shown]) == block


def test_what_cannot_be_examined_is_reported_before_the_training(command_line, simulated, tmp_path):
    shutil.copytree(simulated, tmp_path / "some")
    labels = tmp_path / "some" / "groundtruth.csv"
    names = [p.name for p in FolderStream(simulated).paths]
    header = "frame,target,x,y,w,h\n"
    labels.write_text(header + "".join(f"{name},green_ball,,,,\n" for name in names))
    with pytest.raises(PvmError, match="none of the 12 held-out frames shows a target"):
        check_sequences([tmp_path / "some"])
    process = command_line("teach", "--data", tmp_path / "some", "--output", tmp_path / "m.safetensors")
    one_line(process, "none of the 12 held-out frames")
    labels.write_text(header + "".join(f"{name},green_ball,9,9,20,20\n" for name in names))
    assert "false alarms are not examined" in check_sequences([tmp_path / "some"]).doubt()
    assert not HoldOut(8, 2, 1).doubt()


def test_what_was_learnt_is_kept_beside_with_the_reason(monkeypatch, capsys, simulated, tmp_path):
    from pvm_perception.core.model_file import load_model
    from pvm_perception.shipped import default_model

    config, weights, history = load_model(default_model())
    worse = Assessment(
        {"green_ball": dict.fromkeys(("auc", "presence_f1", "false_alarms"), 0.5)},
        Validation({"green_ball": 0.5}, {"green_ball": 0.5}, 1.0),
    )
    monkeypatch.setattr(teaching, "teach", lambda *_: Lesson(config, weights, history, worse, worse))
    output = tmp_path / "mine.safetensors"
    arguments = ["teach", "--data", str(simulated), "--output", str(output), "--minutes", "1"]
    assert main(arguments) == 1
    words = capsys.readouterr().err
    assert f"{output} is not written: it is no better on the held-out frames" in words
    candidate = tmp_path / "mine.candidate.safetensors"
    assert str(candidate) in words and load_model(candidate)[0] == config
    assert [p.name for p in tmp_path.iterdir()] == [candidate.name]
    assert main([*arguments, "--force"]) == 0
    assert output.exists()


def test_frames_without_a_label_do_not_count(simulated, tmp_path):
    shutil.copytree(simulated, tmp_path / "some")
    labels = tmp_path / "some" / "groundtruth.csv"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[:41]))
    held_out = [p.name for p in FolderStream(tmp_path / "some", part="held out").paths]
    named = {line.split(",")[0] for line in labels.read_text().splitlines()[1:]}
    assert len(named) == 20 and len(held_out) == 4 and set(held_out) < named
    labels.unlink()
    with pytest.raises(PvmError, match="no groundtruth"):
        check_sequences([tmp_path / "some"])


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
