"""Work that another thread does meanwhile: its answer, its errors, one core, a forked process."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from pvm_perception import Tracker
from pvm_perception.core import meanwhile as module
from pvm_perception.core.meanwhile import cores, meanwhile
from pvm_perception.streams.generated import SimulatedStream

ROOT = Path(__file__).parent.parent
TWO = pytest.mark.skipif(cores() == 1, reason="this process may use one core alone")


@TWO
def test_work_and_body_run_at_the_same_time():
    begun, answered = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        assert answered.wait(10)
        return threading.current_thread().name

    with meanwhile(work) as found:
        assert begun.wait(10)
        answered.set()
    assert found().startswith("meanwhile")


@pytest.mark.parametrize("together", [False, pytest.param(True, marks=TWO)])
def test_the_works_error_is_raised(together):
    with pytest.raises(ZeroDivisionError), meanwhile(lambda: 1 / 0, together):
        pass


@TWO
def test_numpys_settings_are_the_callers():
    with (
        np.errstate(over="raise"),
        pytest.raises(FloatingPointError),
        meanwhile(lambda: np.exp(np.float32(99))),
    ):
        pass


@TWO
def test_the_body_ends_after_the_work_even_where_it_fails():
    done = []

    def work() -> None:
        threading.Event().wait(0.1)
        done.append(1)

    with pytest.raises(KeyError), meanwhile(work):
        raise KeyError
    assert done == [1]


def test_on_one_core_the_caller_does_all(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 1)
    with meanwhile(threading.current_thread) as found:
        pass
    assert found() is threading.current_thread()


@TWO
def test_a_forked_process_has_threads_of_its_own():
    with meanwhile(lambda: None):
        pass
    child = os.fork()
    if not child:
        with meanwhile(lambda: 3) as found:
            pass
        os._exit(found())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


@TWO
def test_a_tracker_sees_the_same_on_one_core_and_on_two(monkeypatch):
    images = [frame.image for frame in SimulatedStream(5, (480, 640), frames=16)]

    def seen() -> list[list[tuple[float, ...]]]:
        tracker = Tracker(model=ROOT / "models" / "robot.safetensors", device="cpu")
        return [[(t.id, t.x, t.y, t.w, t.h, t.score) for t in tracker.update(image)] for image in images]

    two = seen()
    monkeypatch.setattr(module, "cores", lambda: 1)
    assert seen() == two
    assert any(two)
