"""What each node offers on the wire, against a committed file: a change here is one for users.

After a change that is meant: PVM_WRITE_INTERFACES=1 .venv/bin/python -m pytest test/test_interfaces.py
"""

import importlib.util
import json
import os

import pytest
from conftest import ROOT

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from rcl_interfaces.srv import DescribeParameters  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from ros_side import end_node, start_node  # noqa: E402

from pvm_perception.ros.node_settings import NODES  # noqa: E402

FILE = ROOT / "test" / "interfaces.json"
STANDARD = ("/rosout", "/parameter_events")
# node's name, and the parameters that bring out all of its topics
NAMES = {
    "tracker": ("pvm_tracker", []),
    "follower": (
        "target_follower",
        ["-p", "drive:=true", "-p", "use_depth:=true", "-p", "broadcast_tf:=true"],
    ),
    "guard": ("stop_sign_guard", ["-p", "use_depth:=true"]),
}


def short(name, node):
    """Return a name as the node's code has it: relative, private, or global."""
    if name.startswith(f"/ns/{node}/"):
        return "~/" + name.removeprefix(f"/ns/{node}/")
    return name.removeprefix("/ns/")


def topics(robot, node, direction):
    graph = robot.node
    by_node, by_topic = {
        "publisher": (graph.get_publisher_names_and_types_by_node, graph.get_publishers_info_by_topic),
        "subscriber": (graph.get_subscriber_names_and_types_by_node, graph.get_subscriptions_info_by_topic),
    }[direction]
    result = []
    for name, (kind,) in sorted(by_node(node, "/ns")):
        if name in STANDARD:
            continue
        qos = next(i.qos_profile for i in by_topic(name) if i.node_name == node)
        result.append(
            {
                "name": short(name, node),
                "type": kind,
                "reliability": qos.reliability.name.lower(),
                "durability": qos.durability.name.lower(),
            }
        )
    return result


def parameters(robot, node, names):
    """Types and ranges; defaults and meanings are in config/*.yaml."""
    described = robot.call(DescribeParameters, f"/ns/{node}/describe_parameters", names=names).descriptors
    result = {}
    for d in described:
        limits = [[r.from_value, r.to_value] for r in (*d.floating_point_range, *d.integer_range)]
        result[d.name] = [
            Parameter.Type(d.type).name.lower(),
            *(limits or ([d.additional_constraints] if d.additional_constraints else [])),
        ]
    return result


def look(robot, command):
    """Run a node and return its interface."""
    node, arguments = NAMES[command]
    process = start_node(robot.env, command, "-r", "__ns:=/ns", *arguments)
    try:
        names = [f.name for f in NODES[command].fields()]
        settings = parameters(robot, node, names)
        robot.spin(1.5)  # discovery
        services = [
            {"name": short(name, node), "type": kind}
            for name, (kind,) in sorted(robot.node.get_service_names_and_types_by_node(node, "/ns"))
            if not kind.startswith(("rcl_interfaces", "type_description", "lifecycle"))
        ]
        return {
            "publishers": topics(robot, node, "publisher"),
            "subscriptions": topics(robot, node, "subscriber"),
            "services": services,
            "parameters": settings,
        }
    finally:
        end_node(process)


def has(package):
    return importlib.util.find_spec(package) is not None


@pytest.mark.parametrize("command", NAMES)
def test_the_interface_is_the_committed_one(robot, command):
    nav2 = has("nav2_msgs")
    if command == "guard" and not nav2:
        pytest.skip("no nav2_msgs here; run `make setup`")
    committed = json.loads(FILE.read_text()) if FILE.exists() else {}
    seen = look(robot, command)
    if os.environ.get("PVM_WRITE_INTERFACES"):
        committed[command] = seen
        FILE.write_text(json.dumps(committed, indent=1) + "\n")
    wanted = committed[command]
    if not nav2:
        wanted["subscriptions"] = [t for t in wanted["subscriptions"] if t["name"] != "speed_limit"]
    if not has("foxglove_msgs"):
        wanted["publishers"] = [t for t in wanted["publishers"] if t["name"] != "~/annotations"]
    assert seen == wanted


def test_our_annotations_are_foxgloves_on_the_wire(robot):
    """The hash is what a robot with Foxglove's own package reports."""
    kind = pytest.importorskip(
        "foxglove_msgs.msg", reason="no foxglove_msgs here; run `make setup`"
    ).ImageAnnotations
    if "metadata" not in kind.get_fields_and_field_types():
        pytest.skip("this foxglove_msgs is Foxglove's own, of 3.3.0 or older")
    publisher = robot.node.create_publisher(kind, "/annotations", 1)
    robot.until(lambda: robot.node.get_publishers_info_by_topic("/annotations"))
    (info,) = robot.node.get_publishers_info_by_topic("/annotations")
    robot.node.destroy_publisher(publisher)
    assert str(info.topic_type_hash) == (
        "RIHS01_bc4e578b1ef80953415d6f966a4cab305c8a44c8b64fc405312b6f06a08fc45e"
    )


@pytest.mark.parametrize(
    ("package", "name", "digest"),
    [
        ("nav2_msgs", "SpeedLimit", "83d8e4e842559f4d9a988b19d31b162216ec738536389f98438d1a166f91845a"),
        ("tf2_msgs", "TFMessage", "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"),
        (
            "vision_msgs",
            "Detection3DArray",
            "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
        ),
    ],
)
def test_our_copies_of_messages_are_the_originals_on_the_wire(robot, package, name, digest):
    """The hashes are what programs that never saw our copies report of the originals."""
    kind = getattr(pytest.importorskip(f"{package}.msg", reason=f"no {package} here; run `make setup`"), name)
    publisher = robot.node.create_publisher(kind, "/copy", 1)
    robot.until(lambda: robot.node.get_publishers_info_by_topic("/copy"))
    (info,) = robot.node.get_publishers_info_by_topic("/copy")
    robot.node.destroy_publisher(publisher)
    assert str(info.topic_type_hash) == f"RIHS01_{digest}"
