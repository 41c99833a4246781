"""The test's own side of a ROS 2 graph: it publishes, keeps what nodes say, runs nodes."""

import os
import random
import signal
import subprocess
import sys
import time

import rclpy
from conftest import ROOT
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from pvm_perception.processes import image_transport
from pvm_perception.vision.image_codec import fill_image

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
EAGER = ("-p", "birth_score:=0.02", "-p", "keep_score:=0.01")  # boxes come, whatever the model


def domain():
    """Return an environment of its own: this host only, a domain that no other test is in."""
    return {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        **image_transport(os.environ),
        "ROS_DOMAIN_ID": str(random.SystemRandom().randrange(1, 100)),
    }


class Robot:
    """Publishes what a robot would, keeps what nodes say."""

    def __init__(self, env):
        self.env = env
        os.environ.update(env)
        rclpy.init()
        self.node = rclpy.create_node("robot")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.heard = {}

    def listen(self, kind, topic, qos=10):
        self.heard[topic] = []
        self.node.create_subscription(kind, topic, self.heard[topic].append, qos)

    def until(self, condition, seconds=20):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            self.executor.spin_once(timeout_sec=0.02)

    def spin(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def call(self, kind, name, **fields):
        client = self.node.create_client(kind, name)
        try:
            self.until(client.service_is_ready)
            future = client.call_async(kind.Request(**fields))
            self.until(future.done)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def close(self):
        self.node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown()


def start_node(env, command, *arguments):
    """Start a node as a process, as a robot runs it."""
    return subprocess.Popen(
        [sys.executable, "-m", "pvm_perception", command, "--ros-args", *arguments],
        cwd=ROOT,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end_node(process):
    """End a node, which must end with code 0 and say nothing on stderr; return what it logged."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    logged, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, ""), errors
    return logged


def picture(image, stamp=None, encoding="bgr8"):
    """Return an Image message."""
    message = fill_image(Image(), image, encoding, Image().header)
    message.header.frame_id = "camera_optical"
    if stamp is not None:
        message.header.stamp.sec, message.header.stamp.nanosec = int(stamp), int(stamp % 1 * 1e9)
    return message


def feed(robot, publisher, images, topic, count, start=100.0, **kwargs):
    """Publish until `count` more answers came."""
    goal, k = len(robot.heard[topic]) + count, 0

    def done():
        nonlocal k
        publisher.publish(picture(images[k % len(images)], start + k / 30, **kwargs))
        k += 1
        robot.spin(0.03)
        return len(robot.heard[topic]) >= goal

    robot.until(done, 30)
