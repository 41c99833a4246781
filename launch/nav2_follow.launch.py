"""Tracker, follower and guard for Nav2: `ros2 launch pvm_perception nav2_follow.launch.py`.

Nav2 itself, localisation and the robot are started elsewhere; see docs/nav2.md.
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Return three nodes whose topics are Nav2's."""
    share = FindPackageShare("pvm_perception")
    sim_time = {"use_sim_time": LaunchConfiguration("use_sim_time")}
    namespace = LaunchConfiguration("namespace")

    def argument(name: str, default: object, description: str, *choices: str) -> object:
        return DeclareLaunchArgument(
            name, default_value=default, description=description, choices=list(choices) or None
        )

    def config(name: str) -> object:
        return PathJoinSubstitution([share, "config", name])

    return LaunchDescription(
        [
            argument("image", "/camera/image_raw", "the camera's image topic"),
            argument("camera_info", "/camera/camera_info", "the camera's calibration"),
            argument("odom", "/odom", "the robot's odometry: its own motion, the end of a stop"),
            argument("size", "0.2", "the target's diameter, metres; before follower_params"),
            argument(
                "follow_topic",
                "goal_update",
                "goal_update: behaviour tree with a GoalUpdater; target_pose: the action FollowObject",
                "goal_update",
                "target_pose",
            ),
            argument("guard", "true", "stop at stop signs", "true", "false"),
            argument("params_file", config("tracker.yaml"), "parameters of the tracker"),
            argument("follower_params", config("follower.yaml"), "parameters of target_follower"),
            argument("guard_params", config("guard.yaml"), "parameters of stop_sign_guard"),
            argument("namespace", "", "of the nodes and their topics"),
            argument("use_sim_time", "false", "take the time from /clock", "true", "false"),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "tracker.launch.py"])),
                launch_arguments={
                    name: LaunchConfiguration(name)
                    for name in ("image", "camera_info", "odom", "params_file", "namespace", "use_sim_time")
                }.items(),
            ),
            Node(
                package="pvm_perception",
                executable="target_follower",
                name="target_follower",
                namespace=namespace,
                output="screen",
                parameters=[
                    LaunchConfiguration("follower_params"),
                    sim_time,
                    {"size": ParameterValue(LaunchConfiguration("size"), value_type=float)},
                ],
                remappings=[
                    ("camera_info", LaunchConfiguration("camera_info")),
                    ("target_pose", LaunchConfiguration("follow_topic")),
                ],
            ),
            Node(
                package="pvm_perception",
                executable="stop_sign_guard",
                name="stop_sign_guard",
                namespace=namespace,
                output="screen",
                parameters=[LaunchConfiguration("guard_params"), sim_time],
                remappings=[
                    ("camera_info", LaunchConfiguration("camera_info")),
                    ("odom", LaunchConfiguration("odom")),
                ],
                condition=IfCondition(LaunchConfiguration("guard")),
            ),
        ]
    )
