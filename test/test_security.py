"""SROS 2: the policies say what the nodes do, no more; and a node that is to be secure is, or ends."""

import importlib.util
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
import xmlschema
from conftest import ROOT

POLICIES = ROOT / "config" / "sros2_policies.xml"
SNAPSHOT = json.loads((ROOT / "test" / "interfaces.json").read_text())
SCHEMA = xmlschema.XMLSchema(ROOT / "test" / "sros2_policy.xsd")


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_policies", ROOT / "scripts" / "make_policies.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def allowed(tree, node):
    """Return {(element, right): names} of a node's profile."""
    profile = next(p for p in tree.iter("profile") if p.get("node") == node)
    return {(group.tag, *group.attrib): {name.text for name in group} for group in profile}


def test_the_committed_policies_are_those_of_the_snapshot(maker):
    fresh, committed = (
        ET.canonicalize(ET.tostring(tree.getroot()))
        for tree in (maker.policies(SNAPSHOT), ET.parse(POLICIES))
    )
    assert fresh == committed, "run scripts/make_policies.py"


def test_the_policies_fit_the_schema_and_the_schema_refuses_others(maker):
    SCHEMA.validate(POLICIES)
    text = POLICIES.read_text()
    for old, new in (
        ('"ALLOW"', '"MAYBE"'),
        ("<topic>", "<service>"),
        (' ns="/"', ""),
        ("0.2.0", "0.1.0"),
        (">/detections<", ">/detec tions<"),
    ):
        assert old in text
        odd = text.replace(old, new, 1)
        assert not SCHEMA.is_valid(odd.replace("</topic>", "</service>", 1) if old == "<topic>" else odd)


def test_a_node_may_do_what_it_does_and_no_more():
    tree = ET.parse(POLICIES)
    tracker, guard = allowed(tree, "pvm_tracker"), allowed(tree, "stop_sign_guard")
    assert tracker["topics", "publish"] >= {"/detections", "/pvm_tracker/debug_image", "/rosout"}
    assert "/cmd_vel" not in tracker["topics", "publish"] | guard["topics", "publish"]
    assert tracker["topics", "subscribe"] >= {"/image", "/image/compressed", "/clock"}
    assert {"/pvm_tracker/save_model", "/pvm_tracker/change_state"} <= tracker["services", "reply"]
    assert ("services", "request") not in tracker
    assert allowed(tree, "target_follower")["topics", "publish"] >= {"/cmd_vel", "/target_pose"}
    assert [e.get("path") for e in tree.iter("enclave")] == [
        "/pvm_tracker",
        "/target_follower",
        "/stop_sign_guard",
    ]


def test_a_namespace_and_remapped_topics(maker):
    tree = maker.policies(SNAPSHOT, "/front", {"image": "/camera/image_raw", "cmd_vel": "cmd_vel_raw"})
    SCHEMA.validate(ET.tostring(tree.getroot(), encoding="unicode"))
    tracker = allowed(tree, "pvm_tracker")
    subscribed, published = tracker["topics", "subscribe"], tracker["topics", "publish"]
    assert subscribed >= {"/camera/image_raw", "/camera/image_raw/compressed", "/front/odom"}
    assert published >= {"/front/detections", "/front/pvm_tracker/heatmap", "/diagnostics"}
    assert "/front/image" not in subscribed
    assert "/front/cmd_vel_raw" in allowed(tree, "target_follower")["topics", "publish"]
    assert next(tree.iter("enclave")).get("path") == "/front/pvm_tracker"


@pytest.mark.parametrize("command", ["tracker", "follower"])
def test_a_node_that_cannot_be_secure_does_not_run_open(tmp_path, command):
    """The wheels' Fast DDS was built without its security plugins: no node comes up then, and it says why."""
    rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")
    enclave = tmp_path / "enclaves" / "robot"
    enclave.mkdir(parents=True)
    for name in (
        "identity_ca.cert.pem",
        "cert.pem",
        "key.pem",
        "permissions_ca.cert.pem",
        "governance.p7s",
        "permissions.p7s",
    ):
        (enclave / name).write_text("no certificate")
    done = subprocess.run(
        [sys.executable, "-m", "pvm_perception", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ
        | {
            "ROS_SECURITY_ENABLE": "true",
            "ROS_SECURITY_STRATEGY": "Enforce",
            "ROS_SECURITY_KEYSTORE": str(tmp_path),
            "ROS_SECURITY_ENCLAVE_OVERRIDE": "/robot",
        },
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("pvm_perception: error: ") and "usage" not in last
    if rclpy.__file__.startswith(sys.prefix):  # a distribution's has the plugins, and refuses the certificate
        assert "doesn't have the security libraries" in last
