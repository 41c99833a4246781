"""Gazebo with a ball, a stop sign and a robot: `ros2 launch pvm_perception gazebo.launch.py`.

Gazebo Harmonic or newer with ros_gz_sim and ros_gz_bridge, which apt has; see docs/gazebo.md.
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition, UnlessCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

# where the world's robot carries its camera: x forward, z up, turned into the optical frame
CAMERA = {
    "--x": "0.16",
    "--z": "0.2",
    "--roll": "-1.5707963",
    "--yaw": "-1.5707963",
    "--frame-id": "base_link",
    "--child-frame-id": "camera_optical",
}
SIM_TIME = {"use_sim_time": True}


def generate_launch_description() -> LaunchDescription:
    """Return simulator, bridge, the camera's frame, tracker and, if wanted, follower and guard."""
    share = FindPackageShare("pvm_perception")
    headless, world = LaunchConfiguration("headless"), LaunchConfiguration("world")
    drive = IfCondition(LaunchConfiguration("drive"))

    def argument(name: str, default: object, description: str, *choices: str) -> object:
        return DeclareLaunchArgument(
            name, default_value=default, description=description, choices=list(choices) or None
        )

    def config(name: str) -> object:
        return PathJoinSubstitution([share, "config", name])

    def gazebo(flags: str, condition: object) -> object:
        return IncludeLaunchDescription(
            PythonLaunchDescriptionSource(
                PathJoinSubstitution([FindPackageShare("ros_gz_sim"), "launch", "gz_sim.launch.py"])
            ),
            launch_arguments={"gz_args": [flags, world]}.items(),
            condition=condition,
        )

    return LaunchDescription(
        [
            argument("world", PathJoinSubstitution([share, "worlds", "ball_and_sign.sdf"]), "SDF file"),
            argument("headless", "false", "without a window", "true", "false"),
            argument("drive", "false", "follow the ball, stop at the sign", "true", "false"),
            argument("params_file", config("tracker.yaml"), "parameters of the tracker"),
            argument("bridge_config", config("gz_bridge.yaml"), "which topics cross the bridge"),
            gazebo("-r ", UnlessCondition(headless)),
            gazebo("-r -s ", IfCondition(headless)),
            Node(
                package="ros_gz_bridge",
                executable="parameter_bridge",
                output="screen",
                parameters=[{"config_file": LaunchConfiguration("bridge_config")}, SIM_TIME],
            ),
            Node(
                package="tf2_ros",
                executable="static_transform_publisher",
                parameters=[SIM_TIME],
                arguments=[word for pair in CAMERA.items() for word in pair],
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "tracker.launch.py"])),
                launch_arguments={
                    "image": "/camera/image_raw",
                    "use_sim_time": "true",
                    "params_file": LaunchConfiguration("params_file"),
                }.items(),
            ),
            Node(
                package="pvm_perception",
                executable="target_follower",
                name="target_follower",
                parameters=[config("follower.yaml"), SIM_TIME, {"drive": True, "size": 0.2}],
                remappings=[("camera_info", "/camera/camera_info")],
                condition=drive,
                output="screen",
            ),
            Node(
                package="pvm_perception",
                executable="stop_sign_guard",
                name="stop_sign_guard",
                parameters=[config("guard.yaml"), SIM_TIME, {"size": 0.6}],
                remappings=[("camera_info", "/camera/camera_info")],
                condition=drive,
                output="screen",
            ),
        ]
    )
