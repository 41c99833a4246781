"""The tracker node is shown targets, and forgets them: topics `teach_box` and `forget_target`."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from rclpy.parameter import Parameter
from std_msgs.msg import String
from vision_msgs.msg import Detection2D

from pvm_perception.core.shown import check_name
from pvm_perception.errors import PvmError
from pvm_perception.ros import messages
from pvm_perception.vision.recent import Moment

if TYPE_CHECKING:
    from pvm_perception.ros.tracker_node import TrackerNode

DEPTH = 10  # of either topic's queue
MOST_WAITING = 8  # lessons that wait for their turn; more are refused

Box = tuple[float, float, float, float]


def taught_box(message: Any) -> tuple[str, Box]:
    """Return the name of a target and the box x, y, w, h around it that a Detection2D shows.

    Of a turned box, the upright one around it.

    Raises
    ------
    PvmError
        It names no target, or holds a number that is none.
    """
    if not message.results:
        raise PvmError("a box that is to be taught needs a class: results[0].hypothesis.class_id")
    name = check_name(message.results[0].hypothesis.class_id)
    centre, turn = message.bbox.center.position, float(message.bbox.center.theta)
    numbers = centre.x, centre.y, message.bbox.size_x, message.bbox.size_y, turn
    if not all(map(math.isfinite, numbers)):
        raise PvmError(f"the box of {name!r} holds a number that is not finite")
    x, y, w, h, _ = map(float, numbers)
    along, across = abs(math.cos(turn)), abs(math.sin(turn))
    w, h = w * along + h * across, w * across + h * along
    return name, (x - w / 2, y - h / 2, w, h)


class Lessons:
    """Shows a tracker node targets, one after the other, on a thread of its own; frames go on meanwhile.

    Parameters
    ----------
    node
        The tracker node.
    """

    def __init__(self, node: TrackerNode) -> None:
        self._node = node
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._settled = True

    def listen(self) -> list[Any]:
        """Subscribe to the topics and return the subscriptions, to be destroyed by the node."""
        subscribe = self._node.create_subscription
        return [
            subscribe(Detection2D, "teach_box", self._teach_box, DEPTH),
            subscribe(String, "forget_target", self._forget_target, DEPTH),
        ]

    def _teach_box(self, message: Any) -> None:
        name, box = taught_box(message)
        moment = self._node.recent.at(messages.seconds_of(message.header))
        if moment is None:
            raise PvmError(
                f"the box of {name!r} is not taught: no image of its stamp is remembered; leave the stamp 0 "
                "for the newest one"
            )
        self._queue(lambda: self._learn(name, moment, box))

    def _forget_target(self, message: Any) -> None:
        name = check_name(message.data)
        self._queue(lambda: self._forget(name))

    def _queue(self, work: Callable[[], None]) -> None:
        if self._waiting >= MOST_WAITING:
            raise PvmError(f"{MOST_WAITING} boxes and names wait already; send it again when they are learnt")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "lessons")
        self._waiting += 1
        guarded = self._node.faults.guard("teach_box", work)
        self._pool.submit(guarded).add_done_callback(self._done)

    def _done(self, _future: Any) -> None:
        self._waiting -= 1

    def _learn(self, name: str, moment: Moment, box: Box) -> None:
        tracker = self._node.tracker
        tracker.place = self._node.sleeper.pictures
        shown = tracker.teacher.learn(tracker.shown, moment.image, name, box)
        with self._node.frame_done():
            tracker.shown = shown
            if name not in tracker.targets:
                tracker.targets = (*tracker.targets, name)
        self._settled = False

    def _forget(self, name: str) -> None:
        with self._node.frame_done():
            self._node.tracker.forget(name)
        self._settled = False

    def settle(self) -> None:
        """Let the parameter `targets` and the announcements follow what was learnt; on the node's thread."""
        if self._settled:
            return
        self._settled = True
        node = self._node
        node.set_parameters([Parameter("targets", value=list(node.tracker.targets))])
        node.announcer.announce(node.tracker, node.own_motion.size)

    def stop(self) -> None:
        """End the thread after the lesson in work; those that wait are dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
