"""Launch the tracker: `ros2 launch pvm_perception tracker.launch.py image:=/camera/image_raw`."""

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Return one node with its parameters from config/tracker.yaml."""
    share = FindPackageShare("pvm_perception")
    return LaunchDescription([
        DeclareLaunchArgument("image", default_value="/camera/image_raw",
                              description="the camera's image topic"),
        DeclareLaunchArgument("namespace", default_value="", description="of the node"),
        DeclareLaunchArgument("params_file", description="parameters of the node",
                              default_value=PathJoinSubstitution([share, "config", "tracker.yaml"])),
        Node(package="pvm_perception", executable="tracker", name="pvm_tracker",
             namespace=LaunchConfiguration("namespace"),
             parameters=[LaunchConfiguration("params_file")],
             remappings=[("image", LaunchConfiguration("image"))], output="screen"),
    ])
