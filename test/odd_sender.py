"""Odd messages thrown at the nodes' own callbacks; for tests and for torture runs.

The callbacks are called without the guard that a running node has around them: what they raise is a
failure, and so is a number that is not finite in what they publish, and a good message afterwards that does
not work. The `throw_at_*` functions return what failed, as {words: how often}; empty = nothing.
"""

import contextlib
import math
import os
import random
from collections import Counter
from types import SimpleNamespace

import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from nav2_msgs.msg import SpeedLimit
from nav_msgs.msg import Odometry
from odd_messages import FOCAL, HEIGHT, TARGETS, WIDTH, Odd, good_camera_info, good_detections, header_of
from rclpy.parameter import Parameter
from ros_side import domain
from std_msgs.msg import String
from vision_msgs.msg import VisionInfo

from pvm_perception.errors import PvmError
from pvm_perception.ros.finite import odd_number
from pvm_perception.ros.follower_node import FollowerNode
from pvm_perception.ros.guard_node import GuardNode
from pvm_perception.ros.lessons import Lessons, taught_box
from pvm_perception.ros.node_settings import NODES
from pvm_perception.ros.own_motion import OwnMotion
from pvm_perception.ros.parameters import default_of
from pvm_perception.ros.servo import Command
from pvm_perception.ros.tracker_node import TrackerNode
from pvm_perception.vision.ego_motion import LARGEST
from pvm_perception.vision.recent import Recent
from pvm_perception.vision.teacher import checked_box


class Bench:
    """A follower or a guard whose callbacks are called and whose publishers are listened to.

    Parameters
    ----------
    node
        A FollowerNode or a GuardNode that nothing spins.
    kind
        "follower" or "guard".
    """

    def __init__(self, node, kind):
        self.node, self.kind = node, kind
        self.target, self.size = TARGETS[kind]
        self.fields = NODES[kind].fields()
        self.now, self.published, self.failures = 100.0, {}, Counter()
        for name, publisher in vars(node).items():
            if hasattr(publisher, "publish"):
                publisher.publish = lambda message, name=name: self._hear(name, message)
        node.ranger.status.publish = lambda message: self._hear("status", message)
        node.clock = SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=round(self.now * 1e9)))

    def _hear(self, name, message):
        self.published[name] = message
        if odd := odd_number(message):
            self.failures[f"{name} published: {odd}"] += 1

    def call(self, callback, *message):
        """Call a callback as the executor would; count what it raises."""
        try:
            callback(*message)
        except Exception as error:
            self.failures[f"{callback.__name__} raised {type(error).__name__}: {error}"] += 1

    def throw(self, rng):
        """Send one odd message to one of the callbacks."""
        odd, node = Odd(rng), self.node
        self.now += rng.choice((0.0, 0.001, 0.05, 1.0))
        doors = [
            (node.ranger._camera_info, odd.camera_info),
            (node.ranger._vision_info, odd.vision_info),
            (node.ranger._keep, odd.depth),
            (node.ranger._detections, lambda now: odd.detections(self.target, now)),
        ]
        if self.kind == "follower":
            doors.append((node._limit, lambda _now: odd.speed_limit()))
        else:
            doors.append((node._odometry, odd.odometry))
        callback, make = rng.choice(doors)
        self.call(callback, make(self.now))
        if self.kind == "follower" and not 0 <= node.servo.share <= 1:
            self.failures["a speed limit that is none"] += 1
        self.call(node._drive if self.kind == "follower" else node._step)
        if rng.random() < 0.05:
            self.call(node._report)
            self._turn(rng)

    def _turn(self, rng):
        """Set one parameter to a value that its range allows, or to its default again."""
        field = rng.choice([f for f in self.fields if f.name not in ("target", *NODES[self.kind].fixed)])
        usual, meta = default_of(field), field.metadata
        value = rng.choice((usual, not usual if isinstance(usual, bool) else usual))
        if meta["choices"]:
            value = rng.choice(meta["choices"])
        elif meta["low"] is not None and isinstance(usual, float):
            value = rng.choice((meta["low"], meta["high"], rng.uniform(meta["low"], meta["high"]), usual))
        self.node.set_parameters([Parameter(field.name, value=value)])

    def check(self):
        """Send good messages; count as failures what a node that works would not do."""
        node = self.node
        node.set_parameters(
            [
                Parameter(f.name, value=default_of(f))
                for f in self.fields
                if f.name not in NODES[self.kind].fixed
            ]
        )
        self.published.clear()
        node.ranger.depths.clear()
        self.call(node.ranger._vision_info, VisionInfo(method=f"any, images of {WIDTH}x{HEIGHT} px"))
        if self.kind == "follower":
            self.call(node._limit, SpeedLimit())
            node.servo.command = Command()  # not still braking from a speed that a parameter allowed
        for _ in range(20):
            self.now += 0.05
            self.call(node.ranger._camera_info, good_camera_info(self.now))
            self.call(node.ranger._detections, good_detections(self.target, self.size, 2.0))
            self.call(node._drive if self.kind == "follower" else node._step)
        if self.kind == "follower":
            pose = self.published.get("pose")
            if pose is None or abs(pose.pose.position.z - 2.0) > 0.05:
                self.failures["no right pose after good messages"] += 1
            twist = self.published.get("twist", Twist())
            if not 0 < twist.linear.x <= node.servo.settings.max_speed:
                self.failures["no driving after good messages"] += 1
        elif node.distance is None or abs(node.distance - 2.0) > 0.05:
            self.failures["no right distance after good messages"] += 1


def throw_at(node, kind, count, seed=0, every=200):
    """Throw `count` odd messages at a follower (with drive and use_depth) or a guard (with use_depth)."""
    bench, rng = Bench(node, kind), random.Random(seed)
    for k in range(count):
        bench.throw(rng)
        if k % every == every - 1:
            bench.check()
    bench.check()
    return dict(bench.failures)


class OptionalInputs:
    """The tracker's `odom` and `camera_info`, without a node around them."""

    def __init__(self):
        self.failures, self.now = Counter(), 100.0
        self.motion = OwnMotion(
            SimpleNamespace(
                create_subscription=lambda *_: None,
                resolve_topic_name=lambda name: name,
                faults=SimpleNamespace(note=lambda *_: None),
            )
        )

    def _frame(self, size=(HEIGHT, WIDTH)):
        motion, _ = self.motion.around(self.now, size, 60.0)
        if motion is not None and not (np.abs(motion) <= LARGEST).all():
            self.failures[f"motion {motion}"] += 1
        self.motion.words(), self.motion.faults()
        return motion

    def throw(self, rng):
        odd = Odd(rng)
        self.now += rng.choice((0.0, 0.001, 1 / 30, 1.0))
        try:
            if rng.random() < 0.5:
                self.motion._odometry(odd.odometry(self.now))
            else:
                self.motion._camera_info(odd.camera_info(self.now))
            self._frame(rng.choice(((HEIGHT, WIDTH), (1, 1), (1, 16384))))
        except Exception as error:
            self.failures[f"{type(error).__name__}: {error}"] += 1

    def check(self):
        """Turn for a second at 0.3 rad/s; the picture must move as it should."""
        self.motion._camera_info(good_camera_info(self.now))
        for _ in range(31):
            self.now += 1 / 30
            message = Odometry(header=header_of(self.now))
            message.twist.twist.angular.z = 0.3
            self.motion._odometry(message)
            motion = self._frame()
        if motion is None or abs(motion[0] - 0.01 * FOCAL / WIDTH) > 1e-4:
            self.failures["no right motion after good messages"] += 1
        if len(self.motion._ego._twists) > 2048:
            self.failures["twists without limit"] += 1


def throw_at_optional_inputs(count, seed=0, every=200):
    """Throw `count` odd messages at the tracker's optional inputs."""
    inputs, rng = OptionalInputs(), random.Random(seed)
    for k in range(count):
        inputs.throw(rng)
        if k % every == every - 1:
            inputs.check()
    inputs.check()
    return dict(inputs.failures)


class Lesson:
    """The tracker's `teach_box` and `forget_target`, on a node that only counts what would be learnt."""

    def __init__(self):
        self.failures, self.queued = Counter(), []
        recent = Recent()
        recent.keep(100.0, 100.0, np.zeros((HEIGHT, WIDTH, 3), np.uint8), ())
        self.lessons = Lessons(SimpleNamespace(recent=recent))
        self.lessons._queue = self.queued.append

    def throw(self, rng):
        """Send one odd message; a report of one line is an answer, anything else a failure."""
        odd = Odd(rng)
        try:
            if rng.random() < 0.7:
                message = odd.box_to_teach()
                self.lessons._teach_box(message)
                checked_box(taught_box(message)[1], (HEIGHT, WIDTH))
            else:
                self.lessons._forget_target(String(data=odd.name("cup")))
        except PvmError as error:
            if len(str(error)) > 300 or not str(error).isprintable():
                self.failures[f"an answer of {len(str(error))} letters"] += 1
        except Exception as error:
            self.failures[f"{type(error).__name__}: {error}"] += 1

    def check(self):
        """Send a good box; it must be queued."""
        before = len(self.queued)
        quiet = random.Random(0)
        odd = Odd(quiet)
        odd.share = 0.0
        self.lessons._teach_box(odd.box_to_teach())
        if len(self.queued) != before + 1:
            self.failures["a good box is not learnt"] += 1


def throw_at_lessons(count, seed=0):
    """Throw `count` odd boxes and names at the tracker's lessons."""
    lesson, rng = Lesson(), random.Random(seed)
    for _ in range(count):
        lesson.throw(rng)
    lesson.check()
    return dict(lesson.failures)


def throw_at_parameters(node, parameters, count, seed=0):
    """Set `count` odd values of a node's parameters, then the defaults; all must be accepted or refused.

    Parameters
    ----------
    node
        Any node of the package.
    parameters
        Its entry in `node_settings.NODES`.
    """
    rng, failures, fields = random.Random(seed), Counter(), parameters.fields()
    before = node.faults.count()
    for _ in range(count):
        field = rng.choice(fields)
        odd = Odd(rng)
        usual = default_of(field)
        value = rng.choice(
            (
                odd.number(1.0),
                odd.name("ball"),
                rng.random() < 0.5,
                rng.randint(-5, 5),
                [],
                ["", ""],
                [1.0, math.nan],
                usual,
            )
        )
        if isinstance(usual, float) and rng.random() < 0.7:
            value = odd.number(usual)
        try:
            result = node.set_parameters([Parameter(field.name, value=value)])[0]
            if not result.successful and not result.reason:
                failures[f"{field.name} refused without a reason"] += 1
        except Exception as error:
            failures[f"{field.name} = {value!r}: {type(error).__name__}: {error}"] += 1
    for field in fields:
        if field.name not in parameters.fixed:
            node.set_parameters([Parameter(field.name, value=default_of(field))])
    if node.faults.count() != before:
        failures[f"a parameter callback raised: {node.faults.last}"] += node.faults.count() - before
    return dict(failures)


@contextlib.contextmanager
def nodes_that_nothing_spins():
    """Give the package's nodes in this process by their commands, in a domain of their own."""
    os.environ.update(domain())
    rclpy.init(args=["--ros-args", "-p", "drive:=true", "-p", "use_depth:=true", "-p", "max_age:=0.0"])
    made = {"tracker": TrackerNode(), "follower": FollowerNode(), "guard": GuardNode()}
    try:
        yield made
    finally:
        for node in made.values():
            node.destroy_node()
        rclpy.try_shutdown()


def throw_at_everything(count, seed=0):
    """Throw `count` odd messages at each of follower, guard and optional inputs, a tenth at parameters.

    Returns {door: {words: how often}}, with every door; empty inner tables = nothing failed.
    """
    with nodes_that_nothing_spins() as nodes:
        failed = {kind: throw_at(nodes[kind], kind, count, seed) for kind in ("follower", "guard")}
        failed["optional inputs"] = throw_at_optional_inputs(count, seed)
        failed["lessons"] = throw_at_lessons(count, seed)
        for kind, parameters in NODES.items():
            failed[f"parameters of {kind}"] = throw_at_parameters(nodes[kind], parameters, count // 10, seed)
    return failed
