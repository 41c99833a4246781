"""The ROS 2 nodes and what they say on the wire; the only room that imports rclpy."""

import os

# everything the logger says goes to stdout: stderr is for what went wrong at start
os.environ.setdefault("RCUTILS_LOGGING_USE_STDOUT", "1")
os.environ.setdefault("RCUTILS_LOGGING_BUFFERED_STREAM", "1")
