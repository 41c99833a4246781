"""The ROS 2 node and what it says on the wire; the only room that imports rclpy."""
