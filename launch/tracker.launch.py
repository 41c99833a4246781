"""The tracker on any camera: `ros2 launch pvm_perception tracker.launch.py image:=/camera/image_raw`.

Each parameter of the node is an argument, with the meaning that config/tracker.yaml gives it. One that is
not given, or empty, is as params_file says.
"""

import os
import re
import runpy
from importlib.util import find_spec
from pathlib import Path

import yaml
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SETTINGS = (Path(__file__).parent.parent / "config" / "tracker.yaml").read_text(encoding="utf-8")
PARAMETERS = yaml.safe_load(SETTINGS)["/**"]["ros__parameters"]  # of the node: name and usual value
# topics that rviz/tracker.rviz shows, beside the camera's
SHOWN = (
    "pvm_tracker/debug_image",
    "pvm_tracker/heatmap",
    "pvm_tracker/prediction",
    "pvm_tracker/surprise",
    "target_pose",
    "target_pose_covariance",
    "target_follower/markers",
)


def _argument(name: str, description: str, default: object = "", choices: tuple = ()) -> object:
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=list(choices) or None
    )


def _parameter_arguments() -> list:
    """Return an argument for each parameter; in the file, meaning and choices stand above it."""
    arguments = []
    for meaning, name in re.findall(r"# (.*)\n +(\w+):", SETTINGS):
        usual, choices = PARAMETERS[name], ()
        if isinstance(usual, str) and (chosen := re.search(r" \((.*)\)$", meaning)):
            meaning, choices = meaning[: chosen.start()], ("", *chosen[1].split(", "))
        elif isinstance(usual, list):
            usual = f'"{" ".join(usual)}"'
        elif isinstance(usual, bool):
            usual, choices = str(usual).lower(), ("", "true", "false")
        otherwise = f", else {usual}" if usual != "" else ""
        arguments.append(_argument(name, f"{meaning}; not given: as in params_file{otherwise}", "", choices))
    return arguments


def _given(context: object) -> dict:
    """Return the parameters whose arguments have values, each of its own type."""
    parameters = {}
    for name, usual in PARAMETERS.items():
        text = LaunchConfiguration(name).perform(context)
        if text and isinstance(usual, list):
            parameters[name] = text.replace(",", " ").split()
        elif text:
            parameters[name] = ParameterValue(LaunchConfiguration(name), value_type=type(usual))
    return parameters


def _tracker(context: object) -> list:
    """Return the actions, now that the arguments have values."""
    image = LaunchConfiguration("image")
    return [
        *_image_transport(LaunchConfiguration("fastdds_profile").perform(context)),
        Node(
            package="pvm_perception",
            executable="tracker",
            name="pvm_tracker",
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                LaunchConfiguration("params_file"),
                {"use_sim_time": LaunchConfiguration("use_sim_time")} | _given(context),
            ],
            remappings=[
                ("image", image),
                ("image/compressed", [image, "/compressed"]),
                ("camera_info", LaunchConfiguration("camera_info")),
                ("odom", LaunchConfiguration("odom")),
            ],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
        ),
    ]


def _image_transport(profile: str) -> list:
    """Return the actions that give Fast DDS a profile, unless the environment says how it is to travel."""
    # by its path: to import the package sets a variable for BLAS, which all that is launched would inherit
    script = Path(find_spec("pvm_perception").origin).with_name("fast_dds.py")
    variables = runpy.run_path(str(script))["variables"](os.environ, profile) if profile else {}
    return [SetEnvironmentVariable(name, value) for name, value in variables.items()]


def _rviz(share: object) -> Node:
    """Return RViz with this package's displays, whose topics follow image and namespace."""
    namespace = LaunchConfiguration("namespace")
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz2",
        namespace=namespace,
        arguments=["-d", PathJoinSubstitution([share, "rviz", "tracker.rviz"])],
        parameters=[{"use_sim_time": LaunchConfiguration("use_sim_time")}],
        remappings=[
            ("/camera/image_raw", LaunchConfiguration("image")),
            *((f"/{name}", PathJoinSubstitution(["/", namespace, name])) for name in SHOWN),
        ],
        condition=IfCondition(LaunchConfiguration("rviz")),
        output="log",
    )


def generate_launch_description() -> LaunchDescription:
    """Return the node, with shared memory for its images, and RViz where wanted."""
    share = FindPackageShare("pvm_perception")
    return LaunchDescription(
        [
            _argument(
                "image",
                "the camera's image topic; compressed images are taken from beneath it",
                "/camera/image_raw",
            ),
            _argument(
                "camera_info", "the camera's calibration, to read the odometry by", "/camera/camera_info"
            ),
            _argument("odom", "the odometry of the robot that carries the camera, looking ahead", "odom"),
            _argument(
                "params_file",
                "parameters of the node",
                PathJoinSubstitution([share, "config", "tracker.yaml"]),
            ),
            *_parameter_arguments(),
            _argument("namespace", "of the node and its topics"),
            _argument("use_sim_time", "take the time from /clock", "false", ("true", "false")),
            _argument("log_level", "of the node", "info", ("debug", "info", "warn", "error", "fatal")),
            _argument(
                "fastdds_profile",
                "Fast DDS profile with room for images in shared memory; empty, or a "
                "profile or transports in the environment: not set",
                PathJoinSubstitution([share, "config", "fastdds.xml"]),
            ),
            _argument(
                "rviz",
                "show camera, boxes, heat map, prediction, surprise and target in RViz",
                "false",
                ("true", "false"),
            ),
            OpaqueFunction(function=_tracker),
            _rviz(share),
        ]
    )
