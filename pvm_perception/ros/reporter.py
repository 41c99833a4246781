"""What the tracker node says of itself: its state, and its entry in /diagnostics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray

from pvm_perception.ros import diagnostics

if TYPE_CHECKING:
    from pvm_perception.ros.tracker_node import TrackerNode


class Reporter:
    """Reports the state of a tracker node.

    Parameters
    ----------
    node
        The node that is reported on, and that publishes the report.
    """

    def __init__(self, node: TrackerNode) -> None:
        self._node = node

    def state(self) -> tuple[bytes, str]:
        """Return the level (as in DiagnosticStatus) and the words of the node's state."""
        node = self._node
        if node.worker is None or node.camera is None or not node.enabled:
            return diagnostics.OK, "not active"
        return diagnostics.judge(
            node.health,
            node.worker,
            node.value("frame_timeout"),
            node.camera.topic,
            node.input.publishers,
            node.input.shortfall() or node.own_motion.faults(),
        )

    def report(self) -> None:
        """Publish the state and the figures, and the model's announcement where it has changed."""
        node = self._node
        tracker = node.tracker
        reads = tracker.config.uses_motion
        facts = {
            "device": tracker.runs_on,
            "device note": tracker.notice,
            "learning": tracker.learning,
            "what learns": tracker.learns,
            "learning given up (times)": tracker.times_given_up,
            "model version": tracker.model_version,
            **node.sleeper.facts(),
            "state lost (times)": tracker.times_diverged,
            "topic": node.camera.topic if node.camera else "",
            "targets": ", ".join(tracker.targets),
            "shown targets": ", ".join(tracker.shown.names),
            "own motion": node.own_motion.words() if reads else "this model does not read it",
            "age limit": node.age_limit.state(node.value("max_age")),
            "worker restarts": node.worker.restarts if node.worker else 0,
            "faults": node.faults.count(),
        }
        level, message = self.state()
        array = DiagnosticArray(header=node.header())
        array.status.append(
            diagnostics.entry(
                level, diagnostics.name_of(node, "tracker"), message, node.health.values() | facts
            )
        )
        node.status.publish(array)
        node.announcer.announce(tracker, node.own_motion.size)
