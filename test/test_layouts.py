"""RViz's and Foxglove's layouts: every topic is one of ours, of the kind that its panel shows."""

import importlib
import json
import re

import pytest
import yaml
from conftest import ROOT

from pvm_perception.ros.diagnostics import Health

INTERFACES = json.loads((ROOT / "test" / "interfaces.json").read_text())
NODES = {"tracker": "pvm_tracker", "follower": "target_follower", "guard": "stop_sign_guard"}
PUBLISHED = {
    "/" + t["name"].lstrip("/").replace("~", node): t
    for name, node in NODES.items()
    for t in INTERFACES[name]["publishers"]
}
CAMERA = "/camera/image_raw"  # somebody else's, in every launch file
DISPLAYS = {
    "Image": "sensor_msgs/msg/Image",
    "Pose": "geometry_msgs/msg/PoseStamped",
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
    "PoseWithCovariance": "geometry_msgs/msg/PoseWithCovarianceStamped",
}
PICTURES = {f"/pvm_tracker/{name}" for name in ("debug_image", "heatmap", "prediction", "surprise")}
IN_SPACE = ("/target_pose", "/target_pose_covariance", "/target_follower/markers")
RVIZ = yaml.safe_load((ROOT / "rviz" / "tracker.rviz").read_text())["Visualization Manager"]
FOXGLOVE = json.loads((ROOT / "config" / "foxglove_layout.json").read_text())


def test_rviz_displays_are_of_our_topics():
    topics = set()
    for display in RVIZ["Displays"]:
        package, kind = display["Class"].split("/")
        assert package == "rviz_default_plugins" and display["Enabled"]
        if "Topic" not in display:
            continue
        topic, reliable = display["Topic"]["Value"], display["Topic"]["Reliability Policy"] == "Reliable"
        topics.add(topic)
        if topic == CAMERA:  # reliable would receive nothing from a best-effort camera
            assert kind == "Image" and not reliable
            continue
        assert PUBLISHED[topic]["type"] == DISPLAYS[kind]
        assert PUBLISHED[topic]["reliability"] == "reliable" or not reliable
        assert display["Topic"]["Durability Policy"] == "Volatile"
    assert topics == {CAMERA, *IN_SPACE} | PICTURES


def test_rviz_stands_in_the_frame_of_the_cameras_that_we_launch():
    frame = RVIZ["Global Options"]["Fixed Frame"]
    for name in ("usb_camera", "gazebo"):
        assert f'"{frame}"' in (ROOT / "launch" / f"{name}.launch.py").read_text()


def leaves(layout):
    """Return the panels of a layout's tree, left to right."""
    if isinstance(layout, str):
        return [layout]
    assert layout["direction"] in ("row", "column") and 0 < layout["splitPercentage"] < 100
    return leaves(layout["first"]) + leaves(layout["second"])


def test_foxglove_places_each_panel_once():
    placed = leaves(FOXGLOVE["layout"])
    assert sorted(placed) == sorted(FOXGLOVE["configById"])
    kinds = {panel.split("!")[0] for panel in placed}
    assert kinds == {"Image", "Plot", "DiagnosticSummary", "DiagnosticStatusPanel"}


def test_foxglove_pictures_and_diagnostics_are_our_topics():
    pictures, drawn = set(), {}
    for panel, settings in FOXGLOVE["configById"].items():
        if panel.startswith("Image!"):
            topic = settings["imageMode"]["imageTopic"]
            pictures.add(topic)
            drawn |= {
                name: topic
                for name, how in settings["imageMode"].get("annotations", {}).items()
                if how["visible"]
            }
        if panel.startswith("Diagnostic"):
            assert PUBLISHED[settings["topicToRender"]]["type"] == "diagnostic_msgs/msg/DiagnosticArray"
    # the boxes are drawn over the camera's own picture, so nobody needs the one with boxes in it
    assert pictures == PICTURES - {"/pvm_tracker/debug_image"} | {CAMERA}
    assert {PUBLISHED[p]["type"] for p in pictures - {CAMERA}} == {"sensor_msgs/msg/Image"}
    assert drawn == {"/pvm_tracker/annotations": CAMERA}
    assert PUBLISHED["/pvm_tracker/annotations"]["type"] == "foxglove_msgs/msg/ImageAnnotations"


def field_type(message, path):
    """Follow a path such as `detections[:].results[0].score` through the messages' own fields."""
    for part in path.split("."):
        package, kind = message.split("/")[0], message.split("/")[-1]
        fields = getattr(importlib.import_module(f"{package}.msg"), kind).get_fields_and_field_types()
        name, brackets, filtered = re.fullmatch(
            r"(\w+)(\[(?::|\d+)\])?(?:\{(\w+)==\"[^\"]*\"\})?", part
        ).groups()
        found = fields[name]
        array = re.fullmatch(r"sequence<(.+)>", found)
        assert bool(array) == bool(brackets), part
        message = array[1] if array else found
        assert not filtered or field_type(message, filtered) == "string"
    return message


PATHS = [
    p["value"]
    for panel, settings in FOXGLOVE["configById"].items()
    if panel.startswith("Plot!")
    for p in settings["paths"]
]


@pytest.mark.parametrize("path", PATHS)
def test_foxglove_curves_are_of_fields_that_exist(path):
    pytest.importorskip("vision_msgs.msg", reason="needs ROS 2's messages; make setup")
    topic, fields = path.split(".", 1)
    kind = field_type(PUBLISHED[topic]["type"].replace("/msg/", "/"), fields)
    if topic == "/diagnostics":  # figures as text, by name
        name, key = re.findall(r'"([^"]+)"', path)
        assert name == "pvm_tracker: tracker"
        float(Health().values()[key])
        assert kind == "string"
    else:
        assert kind == "double"


def test_scores_and_surprise_are_plotted():
    assert any(p.startswith("/detections.") and p.endswith(".score") for p in PATHS)
    assert any('"surprise"' in p for p in PATHS)
