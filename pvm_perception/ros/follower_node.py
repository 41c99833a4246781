"""`target_follower`: where the target is, for Nav2 or for anyone; and, if wanted, the driving."""

from __future__ import annotations

import math
from typing import Any

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, Twist, TwistStamped
from rclpy.node import Node
from std_msgs.msg import Bool, Header

from pvm_perception.ros.faults import Guarded
from pvm_perception.ros.messages import seconds_of
from pvm_perception.ros.node_settings import NODES, FollowerSettings, FollowerTarget
from pvm_perception.ros.parameters import values_of
from pvm_perception.ros.places import Places, pose_of
from pvm_perception.ros.process import publish_last, run_node, steady_clock
from pvm_perception.ros.ranging import Ranger
from pvm_perception.ros.servo import Command, Servo, ServoSettings
from pvm_perception.vision.geometry import Estimate

try:  # a robot without Nav2 has no such message, and needs none
    from nav2_msgs.msg import SpeedLimit
except ImportError:
    SpeedLimit = None


class FollowerNode(Guarded, Node):
    """`target_follower`; topics and parameters as docs/robot.md lists them."""

    def __init__(self) -> None:
        super().__init__("target_follower")
        NODES["follower"].declare(self)
        self.settings = values_of(self, FollowerSettings)
        self.servo = Servo(values_of(self, ServoSettings))
        self.ranger = Ranger(self, values_of(self, FollowerTarget), self._found)
        self.pose = self.create_publisher(PoseStamped, "target_pose", 5)
        self.pose_covariance = self.create_publisher(PoseWithCovarianceStamped, "target_pose_covariance", 5)
        self.places = Places(self, self.settings.broadcast_tf, self.settings.target_frame)
        self.track = ""  # id of the detection that is followed
        self.drives = self.settings.drive
        self.twist: Any = None  # publisher of commands, where it drives
        # a simulation's time where there is one; else one that nobody can set
        simulated = self.get_parameter("use_sim_time").value
        self.clock = self.get_clock() if simulated else steady_clock()
        if self.drives:
            self.twist = self.create_publisher(TwistStamped if self.settings.stamped else Twist, "cmd_vel", 1)
            self.create_subscription(Bool, "dead_man", self._dead_man, 1)
            if SpeedLimit is not None:
                self.create_subscription(SpeedLimit, "speed_limit", self._limit, 10)
            self.create_timer(1 / self.settings.rate, self._drive, clock=self.clock)
        self.create_timer(1.0, self._report, clock=steady_clock())
        self.add_post_set_parameters_callback(self._adopt)

    def start(self) -> None:
        """Begin: it already listens."""

    def stop(self) -> None:
        """Leave the robot standing still."""
        if self.twist is not None and self.servo.command != Command():
            publish_last(self.twist, self._message(Command()))

    def _adopt(self, _changes: list[Any]) -> None:
        self.servo.settings = values_of(self, ServoSettings)
        self.ranger.settings = values_of(self, FollowerTarget)

    def _now(self) -> float:
        return float(self.clock.now().nanoseconds * 1e-9)

    def _found(self, header: Header, results: list[tuple[Any, Estimate]]) -> None:
        """Follow one of the targets; then say where all of them are."""
        self._follow(header, results)
        self.places.show(header, results, self.ranger.settings)

    def _follow(self, header: Header, results: list[tuple[Any, Estimate]]) -> None:
        """Choose the target that is followed already, else the surest; say where it is."""
        age = self.get_clock().now().nanoseconds * 1e-9 - seconds_of(header)
        fresh = not self.settings.max_age or not seconds_of(header) or abs(age) <= self.settings.max_age
        if not fresh and self.drives:
            self.get_logger().warning(
                f"detections are {age:.2f} s old by their stamp; not driving by them (max_age is "
                f"{self.settings.max_age} s)",
                throttle_duration_sec=5.0,
            )
        if not results:
            if fresh:
                self.servo.missed(self._now())
            return
        detection, estimate = next((r for r in results if r[0].id == self.track), results[0])
        self.track = detection.id
        if estimate.doubt:  # nothing is said of a place that is not known, and the robot stops
            self.servo.missed(self._now())
            return
        if fresh:
            self.servo.saw(estimate.bearing, estimate.distance, self._now())
        pose = pose_of(estimate)
        self.pose_covariance.publish(PoseWithCovarianceStamped(header=header, pose=pose))
        self.pose.publish(PoseStamped(header=header, pose=pose.pose))
        self.places.broadcast(header, pose.pose, self.ranger.settings)

    def _dead_man(self, message: Bool) -> None:
        self.servo.held(message.data, self._now())

    def _limit(self, message: Any) -> None:
        """Heed nav2_msgs/SpeedLimit: percent or m/s of the largest speed; 0 = no limit.

        One that is no number or negative changes nothing: the limit that holds goes on.
        """
        limit = message.speed_limit
        if not (math.isfinite(limit) and limit >= 0):
            self.faults.note("speed_limit", f"{limit} is left out; a limit must be 0 or more", "warning")
            return
        share = limit / 100 if message.percentage else limit / max(self.servo.settings.max_speed, 1e-6)
        self.servo.limit(share if limit > 0 else 1.0)

    def _drive(self) -> None:
        command = self.servo.step(self._now())
        if command is not None:
            self.twist.publish(self._message(command))

    def _message(self, command: Command) -> Twist | TwistStamped:
        twist = Twist()
        twist.linear.x, twist.angular.z = float(command.forward), float(command.turn)
        if not self.settings.stamped:
            return twist
        return TwistStamped(
            twist=twist,
            header=Header(stamp=self.get_clock().now().to_msg(), frame_id=self.settings.base_frame),
        )

    def _report(self) -> None:
        servo = self.servo
        facts = {
            "track": self.track,
            "bearing (rad)": f"{servo.bearing:.3f}",
            "distance (m)": f"{servo.distance:.2f}",
        }
        if self.drives:
            facts |= {
                "forward (m/s)": f"{servo.command.forward:.2f}",
                "turn (rad/s)": f"{servo.command.turn:.2f}",
                "speed limit": f"{100 * servo.share:.0f} %",
            }
        self.ranger.report(servo.state if self.drives else "ranging", facts)


def main(argv: list[str] | None = None) -> int:
    """Run the node until a signal ends it; return the exit code."""
    return run_node(FollowerNode, argv)
