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

from pvm_perception.processes import image_transport


def domain():
    """Return an environment of its own: this host only, a domain that no other test is in."""
    return {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **image_transport(os.environ),
            "ROS_DOMAIN_ID": str(random.SystemRandom().randrange(1, 100))}


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
        cwd=ROOT, env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_node(process):
    """End a node, which must end with code 0 and say nothing on stderr; return what it logged."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    logged, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, ""), errors
    return logged
