"""SIGINT, SIGTERM and SIGHUP: the work ends in good order, in silence."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from pvm_perception import signals
from pvm_perception.errors import PvmError
from pvm_perception.processes import run_together
from pvm_perception.signals import ENDING, Interrupted, Stop, interrupt_on_signals, let_signals_end


@pytest.fixture(autouse=True)
def _as_before():
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:  # nohup and background jobs ignore some, and what is ignored stays so
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_a_stop_is_seen_and_what_was_before_comes_back(number, monkeypatch):
    before = [signal.getsignal(n) for n in ENDING]
    with Stop(impatient=True) as stop:
        assert not stop.is_set() and stop.code == 0
        assert not stop.wait(0.01)
        os.kill(os.getpid(), number)
        assert stop.wait() and stop.is_set()
        assert (stop.number, stop.code) == (number, 128 + number)
        os.kill(os.getpid(), number)  # `timeout` sends it to the process and to its group
        monkeypatch.setattr(signals, "AGAIN", 0.0)
        with pytest.raises(Interrupted):  # a person does not wait
            os.kill(os.getpid(), number)
            time.sleep(5)
    assert [signal.getsignal(n) for n in ENDING] == before


def test_a_node_is_never_interrupted_while_it_ends(monkeypatch):
    monkeypatch.setattr(signals, "AGAIN", 0.0)
    with Stop() as stop:
        for number in ENDING * 3:
            os.kill(os.getpid(), number)
        assert stop.wait()
        assert stop.number == ENDING[0]


@pytest.mark.parametrize("number", ENDING)
def test_interrupted_work_knows_the_signal(number):
    came = interrupt_on_signals()
    with pytest.raises(Interrupted) as caught:
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert came == [caught.value.number] == [number]
    let_signals_end()
    assert [signal.getsignal(n) for n in ENDING] == [signal.SIG_DFL] * 3


def test_what_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.wait(0.1)


LONG = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


@pytest.mark.parametrize("number", ENDING)
def test_processes_end_with_the_one_that_started_them(number, tmp_path):
    script = """
import sys
from pvm_perception import processes
from pvm_perception.signals import Interrupted
code = "import os, time; os.write(1, str(os.getpid()).encode() + bytes([10])); time.sleep(600)"
try:
    processes.run_together({n: [sys.executable, "-c", code] for n in "ab"}, leader="a", seconds=600)
except Interrupted as error:
    sys.exit(error.number)
"""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    children = [int(process.stdout.readline()) for _ in "ab"]
    process.send_signal(number)
    assert process.wait(60) == number
    process.stdout.close()
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_a_process_that_ends_early_ends_all():
    with pytest.raises(PvmError, match="the b process ended early with code 3"):
        run_together({"a": LONG, "b": [sys.executable, "-c", "import sys; sys.exit(3)"]}, "a", 60)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_while_importing_is_silent(number):
    """Python's own start is over when the package's first module is loaded."""
    script = (
        "import sys, os, signal; sys.argv = ['pvm_perception', 'info', 'models/robot.safetensors']\n"
        "from importlib.abc import MetaPathFinder\n"
        "class Signal(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == 'numpy': os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Signal())\n"
        "from pvm_perception.__main__ import run; run()"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (process.returncode, process.stdout, process.stderr) == (128 + number, "", "")
