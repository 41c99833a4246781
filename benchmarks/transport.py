"""Share of raw best-effort frames that arrive, and how late, with and without our Fast DDS profile.

Usage: .venv/bin/python benchmarks/transport.py [--seconds S] [--sizes 640x480 ...]

A camera and a listener, processes of their own on this machine, with the quality of service that
camera drivers and the tracker have. The delay is from the stamp, set just before publishing, to the
listener's callback.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from array import array
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from pvm_perception.processes import image_transport

FPS = 30.0
TOPIC = "/camera/image_raw"


def camera(width: int, height: int, count: int) -> None:
    """Publish frames at 30 Hz once somebody listens; print how many went out, and in what time."""
    rclpy.init()
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, TOPIC, qos_profile_sensor_data)
    message = Image(
        width=width,
        height=height,
        step=3 * width,
        encoding="bgr8",
        data=array("B", bytes(3 * width * height)),
    )
    deadline = time.monotonic() + 30
    while not publisher.get_subscription_count() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)  # discovery in the other direction
    begin = time.monotonic()
    for k in range(count):
        time.sleep(max(0.0, begin + k / FPS - time.monotonic()))
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
    seconds = time.monotonic() - begin
    time.sleep(1.0)  # the last frames are still on their way
    node.destroy_node()
    rclpy.try_shutdown()
    print(json.dumps({"sent": count, "hz": (count - 1) / seconds}))


def listener() -> None:
    """Listen as the tracker does until SIGTERM; print the delays in ms."""
    stop, delays = threading.Event(), []
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, executor = rclpy.create_node("listener"), SingleThreadedExecutor()
    executor.add_node(node)

    def receive(message: Image) -> None:
        stamp = message.header.stamp
        now = node.get_clock().now().nanoseconds
        delays.append((now - stamp.sec * 1_000_000_000 - stamp.nanosec) / 1e6)

    node.create_subscription(
        Image, TOPIC, receive, QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    while not stop.is_set():
        executor.spin_once(timeout_sec=0.1)
    node.destroy_node()
    executor.shutdown()
    rclpy.try_shutdown()
    print(json.dumps(delays))


def environment(profile: bool) -> dict[str, str]:
    """Return this environment on this host only, with our profile or with Fast DDS as it comes."""
    env = {
        k: v
        for k, v in os.environ.items()
        if k
        not in (
            "FASTDDS_DEFAULT_PROFILES_FILE",
            "FASTRTPS_DEFAULT_PROFILES_FILE",
            "FASTDDS_BUILTIN_TRANSPORTS",
        )
    }
    env |= {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_DOMAIN_ID": str(random.SystemRandom().randrange(1, 100)),
    }
    return env | image_transport(env) if profile else env


def measure(width: int, height: int, seconds: float, profile: bool) -> dict[str, object]:
    """Run both processes; return a row of the table."""
    env, this = environment(profile), [sys.executable, __file__]
    listener = subprocess.Popen([*this, "listener"], env=env, stdout=subprocess.PIPE, text=True)
    try:
        sender = subprocess.run(
            [*this, "camera", str(width), str(height), str(round(seconds * FPS))],
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    finally:
        listener.send_signal(signal.SIGTERM)
        words, _ = listener.communicate(timeout=20)
    sent, delays = json.loads(sender), json.loads(words)
    p50, p99 = np.percentile(delays, [50, 99]).round(1).tolist() if delays else ("", "")
    return {
        "width": width,
        "height": height,
        "megabytes": round(3e-6 * width * height, 2),
        "profile": int(profile),
        "sent": sent["sent"],
        "sent_hz": round(sent["hz"], 1),
        "received": len(delays),
        "share": round(len(delays) / sent["sent"], 3),
        "delay_ms_p50": p50,
        "delay_ms_p99": p99,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    """Measure each size without and with the profile; write the table."""
    if sys.argv[1:2] == ["camera"]:
        return camera(*map(int, sys.argv[2:]))
    if sys.argv[1:2] == ["listener"]:
        return listener()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="seconds of each run (default: %(default)s)"
    )
    parser.add_argument(
        "--sizes",
        type=size,
        nargs="+",
        metavar="WIDTHxHEIGHT",
        default=[(640, 480), (1280, 720), (1920, 1080)],
        help="sizes of the images, pixels (default: 640x480 1280x720 1920x1080)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/transport.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    rows = []
    for width, height in args.sizes:
        for profile in (False, True):
            rows.append(measure(width, height, args.seconds, profile))
            print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return None


if __name__ == "__main__":
    main()
