"""`stop_sign_guard`: a stop sign that is near takes Nav2's speed, until the robot has stopped."""

from __future__ import annotations

import math
from typing import Any

from nav2_msgs.msg import SpeedLimit
from nav_msgs.msg import Odometry
from rclpy.node import Node
from std_msgs.msg import Header

from pvm_perception.ros.faults import Guarded
from pvm_perception.ros.node_settings import NODES, GuardSettings, GuardTarget
from pvm_perception.ros.parameters import values_of
from pvm_perception.ros.process import publish_last, run_node, steady_clock
from pvm_perception.ros.qos import SENSOR
from pvm_perception.ros.ranging import Ranger
from pvm_perception.ros.stop_rule import StopRule, StopSettings
from pvm_perception.vision.ego_motion import FASTEST
from pvm_perception.vision.geometry import Estimate

STEP, REPEAT = 0.05, 1.0  # s between looks at the clock; between repetitions of a limit


class GuardNode(Guarded, Node):
    """`stop_sign_guard`; topics and parameters as docs/nav2.md lists them."""

    def __init__(self) -> None:
        super().__init__("stop_sign_guard")
        NODES["guard"].declare(self)
        self.settings = values_of(self, GuardSettings)
        self.rule = StopRule(values_of(self, StopSettings))
        self.ranger = Ranger(self, values_of(self, GuardTarget), self._found)
        self.limit = self.create_publisher(SpeedLimit, "speed_limit", 10)  # Nav2's own depth
        self.create_subscription(Odometry, "odom", self._odometry, SENSOR)
        self.said: float | None = None  # when the limit was last published, s; None = no limit
        self.distance: float | None = None
        self.create_timer(STEP, self._step)
        self.create_timer(1.0, self._report, clock=steady_clock())
        self.add_post_set_parameters_callback(self._adopt)

    def start(self) -> None:
        """Begin: it already listens."""

    def stop(self) -> None:
        """Leave no limit behind."""
        if self.said is not None:
            publish_last(self.limit, self._message(0.0))

    def _adopt(self, _changes: list[Any]) -> None:
        self.settings = values_of(self, GuardSettings)
        self.rule.settings = values_of(self, StopSettings)
        self.ranger.settings = values_of(self, GuardTarget)

    def _now(self) -> float:
        return float(self.get_clock().now().nanoseconds * 1e-9)

    def _odometry(self, message: Odometry) -> None:
        v = message.twist.twist.linear
        speed = math.hypot(v.x, v.y)
        if speed <= FASTEST:  # false for NaN, too
            self.rule.moved(speed)
        else:
            self.faults.note("odom", f"left out: {speed:g} m/s; at most {FASTEST:g} is believed", "warning")

    def _found(self, _header: Header, results: list[tuple[Any, Estimate]]) -> None:
        self.distance = min((e.distance for _, e in results), default=None)
        self.rule.saw(self.distance, self._now())
        self._step()

    def _step(self) -> None:
        """Say the limit when it begins and once a second; say its end once."""
        now, stop = self._now(), self.rule.step(self._now())
        if stop and (self.said is None or not 0 <= now - self.said < REPEAT):
            if self.said is None:
                self.get_logger().info("a stop sign is near: stopping")
            self.limit.publish(self._message(self.settings.limit))
            self.said = now
        elif not stop and self.said is not None:
            self.get_logger().info("stopped for the sign: the limit is withdrawn")
            self.limit.publish(self._message(0.0))
            self.said = None

    def _message(self, percent: float) -> SpeedLimit:
        """Return a limit; 0 is Nav2's word for none."""
        return SpeedLimit(
            header=Header(stamp=self.get_clock().now().to_msg()), percentage=True, speed_limit=percent
        )

    def _report(self) -> None:
        shown = "none" if self.distance is None else f"{self.distance:.2f}"
        self.ranger.report(self.rule.state, {"distance (m)": shown})


def main(argv: list[str] | None = None) -> int:
    """Run the node until a signal ends it; return the exit code."""
    return run_node(GuardNode, argv)
