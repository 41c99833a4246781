"""What the node says about itself on /diagnostics and on the console."""

import signal
import time

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from ros_side import end_node, feed, picture, start_node  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from vision_msgs.msg import Detection2DArray  # noqa: E402

from pvm_perception import Tracker  # noqa: E402
from pvm_perception.core.backend import find_gpu  # noqa: E402
from pvm_perception.ros.age_limit import AgeLimit  # noqa: E402
from pvm_perception.ros.diagnostics import ERROR, OK, WARN, FrameTimes, Health, judge  # noqa: E402


def test_the_diagnostics_say_where_a_frames_time_goes(robot, start_tracker, images):
    topic = "/stages/detections"
    robot.listen(Detection2DArray, topic)
    robot.listen(DiagnosticArray, "/diagnostics")
    publisher = robot.node.create_publisher(Image, "/stages/camera", 5)
    start_tracker("-p", "diagnostics_period:=0.2", name="stages")
    feed(robot, publisher, images, topic, 5, start=time.time() - 10)  # stamps of ten seconds ago

    def values_of():
        found = [s for m in robot.heard["/diagnostics"] for s in m.status if s.name == "stages: tracker"]
        return {v.key: v.value for v in found[-1].values} if found else {}

    robot.until(lambda: float(values_of().get("age (ms)", 0)) > 0)
    values = {k: float(v) for k, v in values_of().items() if k.endswith(("(ms)", "(% of a core)"))}
    assert values["age when begun (ms)"] > 5000
    assert values["age (ms)"] == pytest.approx(
        values["age when begun (ms)"] + values["step time (ms)"], abs=0.2
    )
    assert values["step time (ms)"] == pytest.approx(
        sum(values[f"{stage} (ms)"] for stage in ("decode", "look", "publish")), abs=0.3
    )
    assert values["CPU (% of a core)"] >= 0


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_log_and_diagnostics_say_what_runs_the_network(robot, device):
    """And where `auto` found no GPU, why; who asked for the CPU gets no notice."""
    name = f"placed_{device}"
    robot.listen(DiagnosticArray, "/diagnostics")
    process = start_node(
        robot.env,
        "tracker",
        "-r",
        f"__node:={name}",
        "-p",
        f"device:={device}",
        "-p",
        "diagnostics_period:=0.2",
    )

    def values_of():
        found = [s for m in robot.heard["/diagnostics"] for s in m.status if s.name == f"{name}: tracker"]
        return {v.key: v.value for v in found[-1].values} if found else {}

    try:
        robot.until(values_of)
    finally:
        logged = end_node(process)
    gpu, why = (None, "") if device == "cpu" else find_gpu()
    plain = Tracker()  # on the CPU
    notes = [f"device 'auto' takes the CPU: {why}" if why else "", "" if gpu else plain.notice]
    note = "; ".join(filter(None, notes))
    assert (values_of()["device"], values_of()["device note"]) == (
        "cuda kernels" if gpu else plain.runs_on,
        note,
    )
    assert f"on {values_of()['device']}" in logged
    assert [line.partition("]: ")[2] for line in logged.splitlines() if "[WARN]" in line] == [note] * bool(
        note
    )


def test_a_frame_that_comes_too_late_is_left_out_and_counted(robot, start_tracker, images):
    topic = "/aged/detections"
    robot.listen(Detection2DArray, topic)
    robot.listen(DiagnosticArray, "/diagnostics")
    publisher = robot.node.create_publisher(Image, "/aged/camera", 5)
    process = start_tracker(
        "-p", "max_age:=3.0", "-p", "diagnostics_period:=0.2", "-p", "device:=cpu", name="aged"
    )
    answers = robot.heard[topic]

    def values_of(key):
        found = [s for m in robot.heard["/diagnostics"] for s in m.status if s.name == "aged: tracker"]
        return {v.key: v.value for v in found[-1].values}[key] if found else ""

    def show(age):
        """Publish one frame of this age; return whether it became detections."""
        message = picture(images[0], time.time() - age)
        counted, stamp = int(values_of("frames too old")), message.header.stamp
        publisher.publish(message)
        robot.until(lambda: answers[-1].header.stamp == stamp or int(values_of("frames too old")) > counted)
        return answers[-1].header.stamp == stamp

    feed(robot, publisher, images, topic, 12, start=100.0)  # no stamps of this machine's clock
    robot.until(
        lambda: "not kept" in values_of("age limit") or feed(robot, publisher, images, topic, 1, start=100.0)
    )
    assert "behind the node's clock" in values_of("age limit")
    assert show(0)
    robot.until(lambda: values_of("age limit") == "3.0 s")
    assert [show(30), show(0)] == [False, True]
    robot.until(lambda: show(30), 60)  # it is the clock that is wrong
    assert int(values_of("frames too old")) > 1
    assert [show(30), show(0), show(30)] == [True, True, False]
    process.send_signal(signal.SIGTERM)
    words = process.stdout.read()
    assert words.count("[WARN]") == words.count("max_age: 3.0 s, not kept") >= 1


def test_whose_age_is_judged():
    def judged(*ages, every=0.3):
        return [limit.too_old(age, 0.5, k * every) for k, age in enumerate(ages)]

    limit = AgeLimit()
    assert not any(judged(*[5.0] * 9))  # a bag: always old
    assert limit.doubted
    assert not any(judged(*[-5.0] * 9))  # a clock that is ahead
    assert limit.state(0.5) == "0.5 s, not kept: stamps lie 5.00 s ahead of the node's clock"
    assert judged(0.1, 0.6, -5.0, 0.4, 9.0) == [False, True, False, False, True]
    assert (limit.state(0.5), limit.state(0.0)) == ("0.5 s", "none")
    assert judged(0.1, *[0.6] * 5, 0.1, 0.6) == [False, *[True] * 4, False, False, True]  # a second of them


@pytest.mark.parametrize("simulated", ["false", "true"])  # true: by a simulation's clock, which stands
def test_silence_is_a_warning_that_names_the_topic(robot, start_tracker, simulated):
    robot.listen(DiagnosticArray, "/diagnostics")
    name = f"quiet_{simulated}"
    start_tracker(
        "-p",
        "frame_timeout:=0.5",
        "-p",
        "diagnostics_period:=0.2",
        "-p",
        f"use_sim_time:={simulated}",
        name=name,
    )

    def warned():
        return any(
            s.level == DiagnosticStatus.WARN and f"/{name}/camera" in s.message
            for m in robot.heard["/diagnostics"]
            for s in m.status
            if s.name.startswith(name)
        )

    robot.until(warned)


class Waiting:
    """A worker that lives and waits."""

    alive, restarts, begun = True, 0, None

    def busy(self):
        return 0.0 if self.begun is None else time.monotonic() - self.begun


class Watched:
    """A tracker's health, and the clock it goes by, which the test sets."""

    def __init__(self, monkeypatch):
        self.now, self.worker = 1000.0, Waiting()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.health = Health()

    def frames(self, seconds, outcome, rate=30.0):
        """Let frames come; `outcome` is "", or the kind of fault of each."""
        for _ in range(round(seconds * rate)):
            self.now += 1 / rate
            self.health.arrived()
            if outcome is None:
                continue
            if outcome:
                self.health.fault(outcome, "step is 10")
            else:
                self.health.processed(FrameTimes(0.0, 0.0, self.now), 0.1)

    def state(self, left_out=""):
        return judge(self.health, self.worker, 2.0, "/image", lambda: ["/camera offers reliable"], left_out)


@pytest.mark.parametrize("kind", ["malformed", "failed", "too_old", None])
def test_health_is_of_the_last_seconds(monkeypatch, kind):
    watched = Watched(monkeypatch)
    watched.frames(3600, "", rate=5.0)
    assert watched.state() == (OK, "tracking")
    watched.frames(2.2, kind)
    level, words = watched.state()
    assert level == ERROR
    assert words.startswith("frames come on /image, but none was answered for 2.2 s: ")
    assert words.endswith("step is 10" if kind else "the network does not keep up")
    watched.frames(2.1, "")
    assert watched.state() == (OK, "tracking")


def test_some_bad_frames_are_reported_by_their_share(monkeypatch):
    watched = Watched(monkeypatch)
    for bad, level, words in ((1, OK, "tracking"), (8, WARN, "of the last"), (60, ERROR, "most frames")):
        for _ in range(4):
            watched.frames(bad / 30, "malformed")
            watched.frames(20 / 30, "")
        assert watched.state()[0] == level
        assert words in watched.state()[1]


def test_silence_a_busy_and_a_dead_worker(monkeypatch):
    watched = Watched(monkeypatch)
    watched.frames(5, "")
    watched.now += 1.9
    assert watched.state() == (OK, "tracking")
    assert watched.state("odom is left out: 1e39 m/s") == (WARN, "tracking, but odom is left out: 1e39 m/s")
    watched.now += 0.2
    assert watched.state() == (WARN, "no frame for 2.1 s on /image (/camera offers reliable)")
    watched.worker.begun = watched.now - 2.5
    assert watched.state() == (
        ERROR,
        "one frame has kept the network busy for 2.5 s; if it lasts, restart the node",
    )
    watched.worker.alive = False
    assert watched.state()[0] == ERROR
    watched.worker.alive, watched.worker.begun, watched.worker.restarts = True, None, 1
    watched.health.restarted = watched.now
    watched.frames(1, "")
    assert watched.state() == (
        ERROR,
        "the network's thread ended and is started again, 1 times so far; the log says why",
    )
    watched.frames(1.5, "")
    assert watched.state() == (OK, "tracking")


def test_a_frame_that_is_not_wanted_needs_no_answer(monkeypatch):
    watched = Watched(monkeypatch)
    for _ in range(300):
        watched.now += 1 / 30
        watched.health.arrived(wanted=False)
    assert watched.state() == (OK, "tracking")


def test_malformed_frames_after_a_good_start_are_an_error_on_the_console_too(robot, start_tracker, images):
    topic = "/spoilt/detections"
    robot.listen(Detection2DArray, topic)
    robot.listen(DiagnosticArray, "/diagnostics")
    publisher = robot.node.create_publisher(Image, "/spoilt/camera", 5)
    process = start_tracker("-p", "frame_timeout:=0.5", "-p", "diagnostics_period:=0.2", name="spoilt")
    feed(robot, publisher, images, topic, 30)

    def level():
        found = [s for m in robot.heard["/diagnostics"] for s in m.status if s.name == "spoilt: tracker"]
        return found[-1].level if found else None

    def spoil():
        message = picture(images[0], 200.0)
        message.step = 10
        publisher.publish(message)
        robot.spin(0.03)
        return level() == DiagnosticStatus.ERROR

    robot.until(lambda: level() == DiagnosticStatus.OK)
    robot.until(spoil)
    robot.until(
        lambda: feed(robot, publisher, images, topic, 1, start=300.0) or level() == DiagnosticStatus.OK
    )
    process.send_signal(signal.SIGTERM)
    logged = process.stdout.read()
    assert "[WARN]" in logged and "image: left out: step is 10" in logged
    assert any(
        "[ERROR]" in line and "tracking: " in line and "step is 10" in line for line in logged.splitlines()
    )
