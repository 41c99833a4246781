"""The robot's side of ROS 2: a process that runs the simulation and speaks Gazebo's topics.

Lock-step: it publishes the clock, waits for the command of that moment, publishes the frame, waits for
its detections, and only then goes on by one frame. What happens does not depend on how fast it runs.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from nav2_msgs.msg import SpeedLimit
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from pvm_perception.bar import Bar
from pvm_perception.closed_loop.score import Moment, write_moments
from pvm_perception.closed_loop.simulation import Simulation
from pvm_perception.closed_loop.video import Video
from pvm_perception.closed_loop.world import Camera, ball_world, sign_world
from pvm_perception.errors import PvmError
from pvm_perception.evaluation.metrics import overlap
from pvm_perception.ros.faults import Guarded
from pvm_perception.ros.finite import odd_number
from pvm_perception.ros.messages import seconds_of, tracks_of
from pvm_perception.signals import Stop
from pvm_perception.types import Box, Track
from pvm_perception.vision.image_codec import fill_image

WORLDS = {"ball": ball_world, "sign": sign_world}
RATE = 20  # frames a second of simulated time
FILMED = 2  # every second one is filmed
PATIENCE = 5.0  # s of real time for detections, and for a command while they flow
PAUSE = 0.05  # s of real time for a command while none is due: a follower that stands is silent
MOMENT = 0.005  # s of real time for a speed limit, which comes seldom
CRUISE = 0.5  # m/s along the road
PAST = 1.0  # m behind the sign where a run along the road ends


class SimulationNode(Guarded, Node):
    """The node that a bridge speaks through; an odd message does not end it."""


class Bridge:
    """Publishes what the robot senses, drives as commanded, records what happened.

    Parameters
    ----------
    node
        Of rclpy, which is spun elsewhere.
    simulation
        What is driven.
    video
        Takes what is seen at each moment.
    cruise
        Whether the robot drives along by itself, within the speed limit; else as `/cmd_vel` commands.
    """

    def __init__(self, node: Node, simulation: Simulation, video: Video, cruise: bool) -> None:
        self.simulation, self.video, self.cruise = simulation, video, cruise
        self.moments: list[Moment] = []
        self.tracks: list[Track] = []  # of the newest detections
        self.share = 1.0  # of the speed, as the speed limit leaves it
        self._answered = -1.0  # stamp of the newest detections, s
        self._commands = 0  # since the clock was last published
        self._flowing = False  # whether the last moment had a command
        self._twist = Twist()
        self._clock = node.create_publisher(Clock, "/clock", 10)
        self.image = node.create_publisher(Image, "/camera/image_raw", QoSProfile(depth=2))
        self._info = node.create_publisher(CameraInfo, "/camera/camera_info", 10)
        self._odom = node.create_publisher(Odometry, "/odom", 10)
        node.create_subscription(Detection2DArray, "/detections", self._detections, 5)
        if cruise:
            node.create_subscription(SpeedLimit, "/speed_limit", self._limit, 10)
        else:
            node.create_subscription(Twist, "/cmd_vel", self._command, 10)

    def _detections(self, message: Detection2DArray) -> None:
        self._answered = seconds_of(message.header)
        self.tracks = tracks_of(message)

    def _limit(self, message: SpeedLimit) -> None:
        """Take a limit as Nav2 does: percent or m/s; 0 = none."""
        _refuse_odd(message)
        limit = message.speed_limit / (100 if message.percentage else CRUISE)
        self.share = min(limit, 1.0) if limit > 0 else 1.0

    def _command(self, message: Twist) -> None:
        _refuse_odd(message)
        self._twist = message
        self._commands += 1

    def frame(self, wait: Callable[[Callable[[], bool], float], bool]) -> None:
        """Live through one frame and the time to the next.

        Parameters
        ----------
        wait
            Called with a condition and a time, s; lets messages in until either has come, and returns
            whether the condition came true.
        """
        simulation, now = self.simulation, round(self.simulation.time * 1e9)
        header = Header(frame_id="camera_optical")
        header.stamp.sec, header.stamp.nanosec = divmod(now, 1_000_000_000)
        image, stamp = simulation.image(), seconds_of(header)
        self._commands = 0
        self._clock.publish(Clock(clock=header.stamp))
        # what follows from the frame before is waited for until this one is shown: were it already on
        # its way, chance would say which of the two is driven by
        if self.cruise:
            wait(lambda: False, MOMENT)
        else:
            due = self._flowing or any(t.target == simulation.world.target for t in self.tracks)
            self._flowing = wait(lambda: self._commands > 0, PATIENCE if due else PAUSE)
        simulation.base.command(*self._speeds())
        self._odom.publish(odometry(simulation, header))
        self._info.publish(camera_info(simulation.world.camera, header))
        self.image.publish(fill_image(Image(), image, "bgr8", header))
        answered = wait(lambda: self._answered == stamp, PATIENCE)
        self._keep(answered)
        if len(self.moments) % FILMED == 1:
            self.video.add(image, self.tracks if answered else [], simulation)
        simulation.advance(1 / RATE)

    def _speeds(self) -> tuple[float, float]:
        """Return the speeds to drive: as `cmd_vel` says, or along the road, as Nav2 would."""
        base = self.simulation.base
        if not self.cruise:
            return self._twist.linear.x, self._twist.angular.z
        _, y, yaw = self.simulation.pose  # what a robot's localisation knows
        forward = CRUISE * self.share
        turn = min(max(-1.5 * yaw - 1.0 * y, -0.5), 0.5) * self.share
        return forward, turn if forward >= base.limits.least_speed else 0.0

    def _keep(self, answered: bool) -> None:
        simulation, box = self.simulation, self.simulation.box()
        same = [t for t in self.tracks if t.target == simulation.world.target] if answered else []
        best = max((float(overlap(_four(t), _four(box))) for t in same), default=0.0) if box else 0.0
        (x, y, yaw), (target_x, target_y) = simulation.pose, simulation.target[:2]
        self.moments.append(
            Moment(
                simulation.time,
                x,
                y,
                yaw,
                simulation.speed,
                target_x,
                target_y,
                simulation.distance(),
                int(box is not None),
                best,
                int(answered),
                simulation.collisions,
                self.share,
            )
        )

    @property
    def ended(self) -> bool:
        """Return whether the road is driven to its end."""
        return self.cruise and self.simulation.pose[0] > self.simulation.target[0] + PAST


def camera_info(camera: Camera, header: Header) -> CameraInfo:
    """Return a camera's calibration, without distortion.

    Parameters
    ----------
    camera
        Its size and focal length, pixels.
    header
        Of the message; its frame is the camera's optical one (REP 103).
    """
    f, (cx, cy) = camera.focal, camera.centre
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def odometry(simulation: Simulation, header: Header) -> Odometry:
    """Return what the wheels say, as a message in frame "odom" of "base_link" (REP 105).

    Parameters
    ----------
    simulation
        Whose base is asked.
    header
        Whose stamp is taken.
    """
    base = simulation.base
    message = Odometry(header=Header(stamp=header.stamp, frame_id="odom"), child_frame_id="base_link")
    pose, twist = message.pose.pose, message.twist.twist
    pose.position.x, pose.position.y = base.x, base.y
    pose.orientation.z, pose.orientation.w = math.sin(base.yaw / 2), math.cos(base.yaw / 2)
    twist.linear.x, twist.angular.z = base.forward, base.turn
    return message


def _refuse_odd(message: Twist | SpeedLimit) -> None:
    """Raise PvmError for a number that is not finite; the robot goes on as it was told before."""
    if odd := odd_number(message):
        raise PvmError(f"left out: {odd}")


def _four(box: Box | Track) -> np.ndarray:
    return np.array([box.x, box.y, box.w, box.h])


def main(argv: list[str] | None = None) -> int:
    """Run one scenario to its end, or until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", choices=WORLDS, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, required=True, help="longest run, simulated")
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    args = parser.parse_args(argv)
    stop = Stop()
    try:
        simulation = Simulation(WORLDS[args.scenario](args.seed))
    except PvmError as error:
        print(f"pvm_perception: error: {error}", file=sys.stderr)
        return 2
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, executor = SimulationNode("simulation"), SingleThreadedExecutor()
    video = Video(args.video, RATE / FILMED)
    bridge = Bridge(node, simulation, video, cruise=args.scenario == "sign")
    executor.add_node(node)

    def wait(condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or stop.is_set():
                return False
            executor.spin_once(timeout_sec=min(left, 0.1))
        return True

    try:
        # the tracker; follower or guard beside the bridge itself; and the other way round
        if not wait(
            lambda: bool(
                bridge.image.get_subscription_count()
                and node.count_subscribers("/detections") > 1
                and node.count_publishers("/detections")
            ),
            60,
        ):
            print(
                "pvm_perception: error: tracker, follower or guard did not come up within 60 s",
                file=sys.stderr,
            )
            return 2
        wait(lambda: False, 1.0)  # discovery in the other direction
        simulation.advance(1 / RATE)  # ROS takes time 0 for no time
        bar = Bar(total=args.seconds, desc=f"sim: {args.scenario} {args.seed}, seconds", leave=False)
        while not (stop.is_set() or bridge.ended or len(bridge.moments) >= args.seconds * RATE):
            bridge.frame(wait)
            bar.update(1 / RATE)
        bar.close()
        write_moments(args.table, bridge.moments)
        video.close()
        return 0
    except PvmError as error:
        print(f"pvm_perception: error: {error}", file=sys.stderr)
        return 2
    finally:
        simulation.close()
        node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
