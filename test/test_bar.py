"""Progress: a bar on a terminal, lines elsewhere, so that a log or a pipe is never silent for long."""

import fcntl
import math
import os
import pty
import struct
import subprocess
import sys
import termios
from functools import partial
from itertools import count
from types import SimpleNamespace

import pytest
from conftest import ROOT

from pvm_perception import bar
from pvm_perception.bar import Bar


def command(*arguments):
    """Return a command line whose progress is due at once."""
    code = "from pvm_perception import bar; bar.EVERY = 0; from pvm_perception.__main__ import run; run()"
    return [sys.executable, "-c", code, *map(str, arguments)]


def test_lines_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(bar, "EVERY", 0.0)
    assert list(Bar("abc", unit="letter", total=3)) == ["a", "b", "c"]
    with Bar(desc="seconds") as endless:
        endless.set_postfix_str("85 frames/s")
        endless.update(2.5)
        endless.update(0)
    with Bar(total=2, unit="step", disable=True) as silent:
        silent.update()
    text = capsys.readouterr()
    assert text.out == ""
    assert text.err.splitlines() == [
        "letter: 1 of 3",
        "letter: 2 of 3",
        "letter: 3 of 3",
        "seconds: 2.5, 85 frames/s",
        "seconds: 2.5, 85 frames/s",
    ]


def test_what_is_done_soon_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(Bar, "_said", -math.inf)
    assert list(Bar(range(5))) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""


def test_short_bars_in_a_row_are_not_a_silence(monkeypatch, capsys):
    monkeypatch.setattr(Bar, "_said", -math.inf)
    monkeypatch.setattr(bar, "time", SimpleNamespace(monotonic=partial(next, count())))  # a second a look
    for _ in range(5):
        list(Bar(range(2)))
    assert capsys.readouterr().err == "it: 2 of 2\nit: 1 of 2\n"


def test_a_command_says_in_a_pipe_how_far_it_is(simulated, tmp_path):
    done = subprocess.run(
        command("track", "--input", simulated, "--output", tmp_path / "boxes.csv"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert done.stderr.splitlines() == [f"frame: {n + 1} of 60" for n in range(60)]
    assert done.stdout.startswith("60 frames, ")


def test_a_terminal_has_a_bar(simulated, tmp_path):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with subprocess.Popen(
        command("track", "--input", simulated, "--output", tmp_path / "boxes.csv"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                text += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
        assert process.wait(60) == 0
    os.close(ours)
    assert b"60/60" in text and b"frame: " not in text


@pytest.mark.parametrize("folder", ["commands", "training", "evaluation", "closed_loop"])
def test_no_other_bar_is_used(folder):
    """tqdm alone is silent off a terminal. `sleep` has lines of its own, which the node reads."""
    users = {p.name for p in (ROOT / "pvm_perception" / folder).glob("*.py") if "tqdm(" in p.read_text()}
    assert users <= {"sleep.py"}
