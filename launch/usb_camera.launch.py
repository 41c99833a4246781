"""A USB camera and the tracker: `ros2 launch pvm_perception usb_camera.launch.py`.

The driver is the package v4l2_camera or usb_cam, which apt has.
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EqualsSubstitution, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

TOPICS = ("image_raw", "image_raw/compressed", "camera_info")  # of either driver, below /camera


def _driver(name: str, executable: str, parameters: dict) -> Node:
    return Node(
        package=name,
        executable=executable,
        name="camera",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            {
                "video_device": LaunchConfiguration("video_device"),
                "camera_info_url": LaunchConfiguration("camera_info_url"),
            },
            parameters,
        ],
        # releases differ in whether these names are the node's own
        remappings=[(prefix + topic, f"camera/{topic}") for topic in TOPICS for prefix in ("", "~/")],
        condition=IfCondition(EqualsSubstitution(LaunchConfiguration("driver"), name)),
        output="screen",
    )


def generate_launch_description() -> LaunchDescription:
    """Return the tracker and one of the two drivers."""
    share = FindPackageShare("pvm_perception")
    width, height = LaunchConfiguration("width"), LaunchConfiguration("height")
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "driver",
                default_value="v4l2_camera",
                choices=["v4l2_camera", "usb_cam"],
                description="package of the camera's driver",
            ),
            DeclareLaunchArgument(
                "video_device", default_value="/dev/video0", description="the camera's device"
            ),
            DeclareLaunchArgument("width", default_value="640", description="pixels"),
            DeclareLaunchArgument("height", default_value="480", description="pixels"),
            DeclareLaunchArgument(
                "frame_id",
                default_value="camera_optical",
                description="of the images; each of several cameras needs its own",
            ),
            DeclareLaunchArgument(
                "camera_info_url", default_value="", description="calibration, as file:///... ; empty: none"
            ),
            DeclareLaunchArgument(
                "params_file",
                description="parameters of the tracker",
                default_value=PathJoinSubstitution([share, "config", "tracker.yaml"]),
            ),
            DeclareLaunchArgument("namespace", default_value="", description="of the nodes and their topics"),
            # first, because it sets the Fast DDS profile that the driver needs as well
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "tracker.launch.py"])),
                launch_arguments={
                    "image": "camera/image_raw",
                    "camera_info": "camera/camera_info",
                    "params_file": LaunchConfiguration("params_file"),
                    "namespace": LaunchConfiguration("namespace"),
                }.items(),
            ),
            _driver(
                "v4l2_camera",
                "v4l2_camera_node",
                {
                    "camera_frame_id": LaunchConfiguration("frame_id"),
                    "image_size": ParameterValue(["[", width, ", ", height, "]"]),
                },
            ),
            _driver(
                "usb_cam",
                "usb_cam_node_exe",
                {
                    "frame_id": LaunchConfiguration("frame_id"),
                    "image_width": ParameterValue(width, value_type=int),
                    "image_height": ParameterValue(height, value_type=int),
                },
            ),
        ]
    )
