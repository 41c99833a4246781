"""The tutorials' commands run as they stand; Nav2's tree and parameters are made of what Nav2 has."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
import yaml
from conftest import ROOT

TUTORIALS = ("first_robot", "teach_your_ball", "follow_me")
# Nav2's behaviour-tree nodes that we use, and their ports, as its index of XML tags gives them
NAV2 = {
    "PipelineSequence": set(),
    "RateController": {"hz"},
    "Sequence": set(),
    "GoalUpdater": {"input_goal", "output_goal"},
    "ComputePathToPose": {"goal", "path", "planner_id"},
    "TruncatePath": {"distance", "input_path", "output_path"},
    "KeepRunningUntilFailure": set(),
    "FollowPath": {"path", "controller_id"},
}


def blocks(name, language):
    text = (ROOT / "docs" / f"{name}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorials_commands_run(name, tmp_path):
    (tmp_path / "config").symlink_to(ROOT / "config")
    commands = "".join(blocks(name, "sh"))
    assert commands.count(".venv/bin/python -m pvm_perception") >= 1
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands.replace(".venv/bin/python", sys.executable)],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if name == "first_robot":
        assert "frame,target,x,y,w,h,score,id,stamp\n" in done.stdout
        assert (tmp_path / "build/first/boxes.mp4").stat().st_size > 10_000
        assert "report.png" in done.stdout
    if name == "teach_your_ball":
        assert "frame,target,x,y,w,h" in done.stdout
        labels = tmp_path / "build/ball/groundtruth.csv"
        assert labels.read_text().endswith("0000.jpg,my_ball,,,,\n")
        assert len((tmp_path / "build/shown.csv").read_text().splitlines()) > 5
    if name == "follow_me":
        assert "follow_distance: 1.0" in done.stdout and "FollowTarget" in done.stdout


def test_nav2s_tree_is_made_of_nav2s_nodes():
    tree = ET.parse(ROOT / "config" / "follow_target.xml").getroot()
    (behaviour,) = tree
    assert tree.get("BTCPP_format") == "4" and tree.get("main_tree_to_execute") == behaviour.get("ID")
    written, read = {"goal"}, set()  # bt_navigator itself writes the goal
    for node in behaviour.iter():
        if node is behaviour:
            continue
        assert set(node.attrib) - {"name"} <= NAV2[node.tag], node.tag
        for port, value in node.attrib.items():
            entry = re.fullmatch(r"\{(\w+)\}", value)
            output = port.startswith("output") or (node.tag, port) == ("ComputePathToPose", "path")
            if entry:
                (written if output else read).add(entry[1])
    assert read <= written, f"nobody writes {read - written}"


def test_nav2s_parameters_name_our_topics_and_tree():
    nodes = yaml.safe_load((ROOT / "config" / "nav2.yaml").read_text())
    navigator = nodes["bt_navigator"]["ros__parameters"]
    assert navigator["default_nav_to_pose_bt_xml"].endswith("config/follow_target.xml")
    launch = (ROOT / "launch" / "nav2_follow.launch.py").read_text()
    assert f'"{navigator["goal_updater_topic"]}"' in launch
    guard = (ROOT / "pvm_perception" / "ros" / "guard_node.py").read_text()
    assert f'"{nodes["controller_server"]["ros__parameters"]["speed_limit_topic"]}"' in guard


def test_every_page_has_its_place_on_the_site():
    """Sphinx (`make docs`) checks all links; this needs no Sphinx."""
    index = (ROOT / "docs" / "index.md").read_text()
    named = {
        line for part in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for line in part.split("\n")
    }
    pages = {str(p.relative_to(ROOT / "docs").with_suffix("")) for p in (ROOT / "docs").rglob("*.md")}
    assert pages - {"index"} <= named
    assert {"first_robot", "teach_your_ball", "follow_me"} == set(TUTORIALS)
