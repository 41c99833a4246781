"""Each parameter of the tracker's node is an argument of the launch files that start it."""

import launch_stand_in
import pytest
from conftest import ROOT

from pvm_perception.ros.node_settings import NODES
from pvm_perception.ros.parameters import default_of

TRACKER = ROOT / "launch" / "tracker.launch.py"
FIELDS = {f.name: f for f in NODES["tracker"].fields()}


def node(path=TRACKER, **given):
    """Return what would be started of the tracker."""
    return next(facts for _, name, facts in launch_stand_in.run(path, **given) if name == "tracker")


def typed(field):
    """Return a value other than the default that is allowed, and how it is typed."""
    value, choices = default_of(field), field.metadata["choices"]
    if isinstance(value, bool):
        value = not value
    elif isinstance(value, list):
        value = list(choices[:2] if choices else ("stop_sign", "2024"))
    elif isinstance(value, str):
        value = next(c for c in choices if c != value) if choices else "2024"
    else:
        value = type(value)(field.metadata["high"])
    text = " ".join(value) if isinstance(value, list) else str(value)
    return value, text.lower() if isinstance(value, bool) else text.removesuffix(".0")


@pytest.mark.parametrize("name", FIELDS)
def test_a_parameter_is_an_argument_that_says_what_the_setting_says(name):
    field = FIELDS[name]
    argument = next(a for a in launch_stand_in.load(TRACKER).arguments if a.name == name)
    assert argument.description.startswith(field.metadata["doc"])
    assert "; not given: as in params_file" in argument.description and argument.default == ""
    if isinstance(default_of(field), bool):
        assert argument.choices == ["", "true", "false"]
    elif field.metadata["choices"] and isinstance(default_of(field), str):
        assert argument.choices == ["", *field.metadata["choices"]]
    else:
        assert argument.choices is None


@pytest.mark.parametrize("file", ["tracker", "usb_camera", "nav2_follow", "gazebo"])
@pytest.mark.parametrize("name", FIELDS)
def test_an_argument_that_is_given_wins_over_the_file_and_has_the_parameters_type(name, file):
    path = ROOT / "launch" / f"{file}.launch.py"
    value, text = typed(FIELDS[name])
    before, facts = node(path), node(path, **{name: text})
    assert list(before["parameters"]) == ["use_sim_time"]  # all else is as params_file says
    assert facts["parameters"] == before["parameters"] | {name: value}
    assert type(facts["parameters"][name]) is type(default_of(FIELDS[name]))
    assert facts["files"] == before["files"]  # read first: launch_ros passes them on in this order


def test_the_tracker_s_other_arguments():
    facts = node(
        targets="stop_sign, green_ball",
        device="cpu",
        autostart="false",
        namespace="left",
        image="cam/image",
        use_sim_time="true",
        log_level="debug",
        learning="true",
    )
    assert facts["parameters"] == {
        "targets": ["stop_sign", "green_ball"],
        "device": "cpu",
        "autostart": False,
        "use_sim_time": True,
        "learning": True,
    }
    assert facts["remappings"] == {
        "image": "cam/image",
        "image/compressed": "cam/image/compressed",
        "camera_info": "/camera/camera_info",
        "odom": "odom",
    }
    assert facts["words"] == ["--log-level", "debug"]
    assert facts["namespace"] == "left"


@pytest.mark.parametrize(
    "wrong", [{"device": "tpu"}, {"fovea": "maybe"}, {"memory_size": "much"}, {"colour": "red"}]
)
def test_a_wrong_word_is_refused(wrong):
    with pytest.raises(AssertionError):
        node(**wrong)
