"""Launch files, the Gazebo world and its bridge: every name in them must exist."""

import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import launch_stand_in
import pytest
import yaml
from conftest import ROOT

from pvm_perception.ros.node_settings import NODES
from pvm_perception.ros.parameters import default_of

LAUNCH = sorted((ROOT / "launch").glob("*.launch.py"))
WORLD = ROOT / "worlds" / "ball_and_sign.sdf"
# executable: (name of its parameters, node's name)
OURS = {
    "tracker": ("tracker", "pvm_tracker"),
    "target_follower": ("follower", "target_follower"),
    "stop_sign_guard": ("guard", "stop_sign_guard"),
}
OTHERS = {
    "v4l2_camera": "v4l2_camera_node",
    "usb_cam": "usb_cam_node_exe",
    "ros_gz_bridge": "parameter_bridge",
    "tf2_ros": "static_transform_publisher",
    "rviz2": "rviz2",
}
INTERFACES = json.loads((ROOT / "test" / "interfaces.json").read_text())
PAGES = "\n".join(p.read_text() for p in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))


def variations(path):
    """Return argument sets: the defaults, then each choice of each argument."""
    yield {}
    for argument in launch_stand_in.load(path).arguments:
        for choice in argument.choices or ():
            yield {argument.name: choice}


@pytest.mark.parametrize("path", LAUNCH, ids=lambda p: p.name)
def test_all_that_a_launch_file_names_exists(path):
    for arguments in variations(path):
        found = launch_stand_in.run(path, **arguments)
        assert any(kind == "node" for kind, *_ in found)
        for kind, name, facts in found:
            if kind == "include":
                assert name == "/other/ros_gz_sim/launch/gz_sim.launch.py"
                assert Path(facts["gz_args"].split()[-1]).is_file()
            elif facts["package"] == "pvm_perception":
                check_our_node(name, facts)
            else:
                assert OTHERS[facts["package"]] == name
                assert facts["package"].replace("_", "-") in PAGES  # how to install it


def test_every_launch_line_in_the_docs_can_be_typed():
    lines = re.findall(r"ros2 launch pvm_perception (\S+\.launch\.py)(.*)", PAGES.replace("\\\n", " "))
    assert len(lines) > 10
    for file, rest in lines:
        words = [w for w in rest.split("#")[0].split("`")[0].split() if ":=" in w]
        launch_stand_in.run(ROOT / "launch" / file, **dict(w.split(":=", 1) for w in words))


def test_two_launches_in_namespaces_share_nothing():
    def topics(name):
        nodes = launch_stand_in.run(
            ROOT / "launch" / "usb_camera.launch.py", namespace=name, frame_id=f"{name}_optical"
        )
        assert {facts["namespace"] for _, _, facts in nodes} == {name}
        (_, _, tracker), (_, _, camera) = nodes
        assert camera["parameters"]["camera_frame_id"] == f"{name}_optical"
        return tracker["remappings"].values()

    assert not any(topic.startswith("/") for topic in topics("front"))  # all lie in the namespace


def check_our_node(executable, facts):
    parameters, node = OURS[executable]
    assert f'"{executable}"' in (ROOT / "setup.py").read_text()
    assert facts["name"] == node
    interface = INTERFACES[parameters]
    for file in facts["files"]:
        given = yaml.safe_load(Path(file).read_text())["/**"]["ros__parameters"]
        assert set(given) == {f.name for f in NODES[parameters].fields()}
    known = {f.name: f for f in NODES[parameters].fields()}
    for name, value in facts["parameters"].items():
        if name == "use_sim_time":
            assert isinstance(value, bool)
            continue
        assert not NODES[parameters].reason_against(name, value, running=False)
        assert type(value) is type(default_of(known[name])), (name, value)
    topics = {t["name"] for k in ("publishers", "subscriptions") for t in interface[k]}
    for source in facts["remappings"]:
        assert source in topics | {"image/compressed"}, source


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE"), ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE")],
)
def test_the_shared_memory_profile_is_set_for_camera_and_tracker(monkeypatch, distribution, variable):
    for name in (
        "FASTRTPS_DEFAULT_PROFILES_FILE",
        "FASTDDS_DEFAULT_PROFILES_FILE",
        "FASTDDS_BUILTIN_TRANSPORTS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_DISTRO", distribution)
    found = launch_stand_in.run(ROOT / "launch" / "usb_camera.launch.py")
    assert [name for _, name, _ in found] == ["tracker", "v4l2_camera_node"]
    for _, _, facts in found:
        assert facts["environment"] == {variable: str(ROOT / "config" / "fastdds.xml")}
    for name, value in ((variable, "/mine.xml"), ("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")):
        with monkeypatch.context() as somebody:  # whose own choice is left alone
            somebody.setenv(name, value)
            for _, _, facts in launch_stand_in.run(ROOT / "launch" / "usb_camera.launch.py"):
                assert not facts["environment"]


def test_to_launch_does_not_import_the_package(monkeypatch):
    """It would set a variable for BLAS, for everything that is launched, and load all that a node needs."""
    for name in [n for n in sys.modules if n.split(".")[0] == "pvm_perception"]:
        monkeypatch.delitem(sys.modules, name)
    for path in LAUNCH:
        launch_stand_in.run(path)
    assert not [n for n in sys.modules if n.split(".")[0] == "pvm_perception"]


def shown_by_rviz(**arguments):
    """Return display -> topic, as RViz would show them with the launch file's renaming."""
    (_, _, _), (_, name, facts) = launch_stand_in.run(
        ROOT / "launch" / "tracker.launch.py", rviz="true", **arguments
    )
    assert name == "rviz2" and facts["words"][0] == "-d"
    displays = yaml.safe_load(Path(facts["words"][1]).read_text())["Visualization Manager"]["Displays"]
    topics = {d["Name"]: d["Topic"]["Value"] for d in displays if "Topic" in d}
    assert set(facts["remappings"]) == set(topics.values())
    return {name: facts["remappings"][topic] for name, topic in topics.items()}


def test_rviz_shows_what_the_launch_file_starts():
    assert shown_by_rviz() == {
        "camera": "/camera/image_raw",
        "boxes": "/pvm_tracker/debug_image",
        "heat map": "/pvm_tracker/heatmap",
        "expected next": "/pvm_tracker/prediction",
        "surprise": "/pvm_tracker/surprise",
        "target": "/target_pose",
        "target, how sure": "/target_pose_covariance",
        "all targets": "/target_follower/markers",
    }
    shown = shown_by_rviz(image="front/image_raw", namespace="left")
    assert shown.pop("camera") == "front/image_raw"
    assert all(topic.startswith("/left/") for topic in shown.values())


def test_the_usb_camera_feeds_the_tracker():
    for driver in ("v4l2_camera", "usb_cam"):
        tracker, camera = (
            facts
            for _, _, facts in launch_stand_in.run(
                ROOT / "launch" / "usb_camera.launch.py", driver=driver, width="800", height="600"
            )
        )
        assert camera["remappings"]["image_raw"] == tracker["remappings"]["image"]
        assert {800, 600} <= set(camera["parameters"].get("image_size", ())) | {
            v for v in camera["parameters"].values() if isinstance(v, int)
        }


def test_nav2s_names():
    path = ROOT / "launch" / "nav2_follow.launch.py"
    nodes = {name: facts for _, name, facts in launch_stand_in.run(path, size="0.065")}
    assert set(nodes) == set(OURS)
    assert nodes["target_follower"]["remappings"]["target_pose"] == "goal_update"
    assert nodes["target_follower"]["parameters"]["size"] == 0.065
    assert "stop_sign_guard" not in {n for _, n, _ in launch_stand_in.run(path, guard="false")}


def sdf(path):
    return [e.text for e in ET.parse(WORLD).getroot().iterfind(path)]


def test_the_world_bridge_and_launch_file_agree():
    topics = {
        "/clock",
        *sdf(".//topic"),
        *sdf(".//camera_info_topic"),
        *sdf(".//odom_topic"),
        *sdf(".//tf_topic"),
    }
    bridge = yaml.safe_load((ROOT / "config" / "gz_bridge.yaml").read_text())
    kinds = {}
    for entry in bridge:
        assert set(entry) <= {
            "ros_topic_name",
            "gz_topic_name",
            "ros_type_name",
            "gz_type_name",
            "direction",
            "lazy",
        }
        assert entry["direction"] in ("GZ_TO_ROS", "ROS_TO_GZ", "BIDIRECTIONAL")
        assert entry["gz_topic_name"] in topics
        assert re.fullmatch(r"[a-z0-9_]+/msg/[A-Za-z0-9]+", entry["ros_type_name"])
        assert entry["gz_type_name"].startswith("gz.msgs.")
        kinds[entry["ros_topic_name"]] = (entry["ros_type_name"], entry["direction"])
    assert topics <= {e["gz_topic_name"] for e in bridge}
    found = launch_stand_in.run(ROOT / "launch" / "gazebo.launch.py", drive="true")
    assert {n for _, n, _ in found} > set(OURS)
    for _, name, facts in found:
        if name not in OURS:
            continue
        interface = INTERFACES[OURS[name][0]]
        for key, direction in (("subscriptions", "GZ_TO_ROS"), ("publishers", "ROS_TO_GZ")):
            for topic in interface[key]:
                wire = facts["remappings"].get(topic["name"], "/" + topic["name"])
                if wire in kinds:
                    assert kinds[wire] == (topic["type"], direction)
        assert facts["parameters"]["use_sim_time"] is True
    for topic in ("/camera/image_raw", "/camera/camera_info"):
        assert any(topic in f.get("remappings", {}).values() for _, _, f in found)


def test_frames_and_sizes_are_the_worlds():
    found = {n: f for _, n, f in launch_stand_in.run(ROOT / "launch" / "gazebo.launch.py", drive="true")}
    words = found["static_transform_publisher"]["words"]
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert [given["--child-frame-id"]] == sdf(".//optical_frame_id")
    assert [given["--frame-id"]] == sdf(".//child_frame_id")
    x, y, z, *turn = map(float, sdf(".//sensor[@name='camera']/pose")[0].split())
    assert (float(given["--x"]), 0.0, float(given["--z"])) == (x, y, z) and not any(turn)
    # REP 103: the optical frame is turned by -90 degrees about x, then about z
    assert float(given["--roll"]) == float(given["--yaw"]) == pytest.approx(-1.5707963, abs=1e-6)
    (radius,) = sdf(".//model[@name='ball']//visual//radius")
    assert found["target_follower"]["parameters"]["size"] == 2 * float(radius)
    points = [
        float(p.text.split()[0]) for p in ET.parse(WORLD).getroot().iterfind(".//visual[@name='rim']//point")
    ]
    assert found["stop_sign_guard"]["parameters"]["size"] == pytest.approx(
        max(points) - min(points), abs=1e-3
    )


SPECIFICATIONS = sorted(
    p for where in ("sdformat1*", "gz/sdformat1*") for p in Path("/usr/share").glob(f"{where}/1.9/root.sdf")
)


def test_the_world_is_sound():
    """Names are unique where they must be; joints, wheels and plugins name what is there."""
    root = ET.parse(WORLD).getroot()
    assert root.tag == "sdf" and len(root) == 1
    for parent in root.iter():
        names = [(c.tag, c.get("name")) for c in parent if c.get("name") and c.tag != "plugin"]
        assert len(names) == len(set(names))
    for model in root.iter("model"):
        links = {link.get("name") for link in model.iterfind("link")}
        for joint in model.iterfind("joint"):
            assert {joint.findtext("parent"), joint.findtext("child")} <= links
    joints = {j.get("name") for j in root.iter("joint")}
    assert {*sdf(".//plugin/left_joint"), *sdf(".//plugin/right_joint")} == joints
    wheels = [
        float(link.findtext("pose").split()[1]) for link in root.iter("link") if "wheel" in link.get("name")
    ]
    assert [max(wheels) - min(wheels)] == [float(s) for s in sdf(".//wheel_separation")]
    for pose in root.iter("pose"):
        assert len([float(n) for n in pose.text.split()]) == 6


@pytest.mark.skipif(not SPECIFICATIONS, reason="no sdformat here; apt install sdformat-sdf")
def test_the_world_keeps_to_sdformat():
    """Elements and attributes are those of the installed specification, and none is missing."""
    folder = SPECIFICATIONS[-1].parent
    newer = {"camera_info_topic", "optical_frame_id"}  # of Gazebo Harmonic, in no Debian package
    problems = []

    def check(node, rules, path):
        allowed = {e.get("name"): e for e in rules.findall("element") if e.get("name")}
        needed = {e.get("name"): e.get("required") for e in rules.findall("element")}
        for include in rules.findall("include"):
            if (folder / include.get("filename")).is_file():
                inner = ET.parse(folder / include.get("filename")).getroot()
                allowed[inner.get("name")] = inner
                needed[inner.get("name")] = include.get("required")
        attributes = {a.get("name"): a.get("required") for a in rules.findall("attribute")}
        problems.extend(f"{path}: attribute {a}" for a in node.attrib if a not in attributes)
        problems.extend(
            f"{path}: no attribute {a}" for a, r in attributes.items() if r == "1" and a not in node.attrib
        )
        problems.extend(
            f"{path}: no {n}" for n, r in needed.items() if n and r in ("1", "+") and node.find(n) is None
        )
        if any(e.get("copy_data") for e in rules.findall("element")):
            return  # a plugin may hold anything
        for child in node:
            if child.tag in allowed:
                check(child, allowed[child.tag], f"{path}/{child.tag}")
            elif child.tag not in newer:
                problems.append(f"{path}: {child.tag}")

    check(ET.parse(WORLD).getroot(), ET.parse(folder / "root.sdf").getroot(), "sdf")
    assert not problems
