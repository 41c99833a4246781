"""What `--help` says: texts that stand alone, defaults that there are, examples that run."""

import argparse
import importlib
import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import ROOT

from pvm_perception.__main__ import COMMANDS, NODES
from pvm_perception.ros.node_settings import NODES as SETTINGS
from pvm_perception.streams.film import Film


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_no_default_that_is_none(command_line, command):
    process = command_line(command, "--help")
    assert process.returncode == 0
    text = " ".join(process.stdout.split())
    assert f"Example: python -m pvm_perception {command}" in text
    assert not re.search(r"default: *(None|False|True|\[|\(|''|\))", text), text


def test_help_shows_defaults_that_there_are(command_line):
    text = " ".join(command_line("track", "--help").stdout.split())
    assert "0 = where it is seen (default: 0)" in text
    assert "(default: green_ball stop_sign)" in text


def test_the_overview_names_each_command_and_a_first_one(command_line):
    text = " ".join(command_line("--help").stdout.split())
    for command, line in COMMANDS.items():
        assert f" {command} {line} " in text
    assert text.endswith("Example: python -m pvm_perception demo")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in NODES])
def test_each_option_has_a_text_that_stands_alone_and_the_example_parses(command):
    module = importlib.import_module(f"pvm_perception.commands.{command}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    for action in parser._actions:
        assert action.help and len(action.help.split()) >= 4, action.dest
        assert not action.help.startswith(("of ", "how ")), action.help
        assert not action.help.endswith((".", ",", ";", ":")), action.help
    name, *arguments = shlex.split(module.EXAMPLE.removeprefix("python -m pvm_perception "))
    assert name == command
    parser.parse_args(arguments)


@pytest.mark.parametrize("command", NODES)
def test_the_example_of_a_node_names_its_topics_and_parameters(command):
    words = shlex.split(NODES[command][1])
    assert words and len(words) % 2 == 0
    interface = json.loads((ROOT / "test" / "interfaces.json").read_text())[command]
    topics = {t["name"] for k in ("publishers", "subscriptions") for t in interface[k]}
    for flag, word in zip(words[::2], words[1::2], strict=True):
        name, value = word.split(":=")
        if flag == "-r":
            assert name in topics
        else:
            assert name in {f.name for f in SETTINGS[command].fields()}
            assert not SETTINGS[command].reason_against(name, yaml.safe_load(value), running=False)


@pytest.mark.parametrize("command", ["track", "explain", "info"])  # others run in tests of their own
def test_the_example_runs(command, tmp_path):
    for name in ("clip.mp4", "drive.mp4"):
        with Film(tmp_path / name, 30.0) as film:
            for k in range(122):
                film.write(np.full((48, 64, 3), k, np.uint8))
    (tmp_path / "models").symlink_to(ROOT / "models")
    python, *words = shlex.split(importlib.import_module(f"pvm_perception.commands.{command}").EXAMPLE)
    assert python == "python"
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout and not done.stderr
