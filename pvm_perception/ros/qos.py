"""Qualities of service of the nodes' topics."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # receives from all publishers
ODOMETRY = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)  # every twist counts
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
