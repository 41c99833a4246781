"""The command line: `python -m pvm_perception COMMAND`. Each command is a module in `commands`."""

from __future__ import annotations

import argparse
import importlib
import sys

from pvm_perception import __version__
from pvm_perception.signals import Interrupted, interrupt_on_signals, let_signals_end

# command and its line in the overview; a new one is a module in `commands` and an entry here
COMMANDS = {
    "track": "find the targets in a video, a folder of images, a camera or a bag; write boxes",
    "evaluate": "score a model on labelled sequences; write a table, JSON and a report",
    "train": "train a model on simulated scenes",
    "bench": "measure time, work, traffic and memory on this machine, beside peers",
    "teach": "show a model a new target in a few boxes, or improve it with your own labelled frames",
    "sleep": "learn from remembered moments, under an exam",
    "simulate": "write simulated frames with their truth as a labelled sequence",
    "watch": "show in the browser, or record, what the tracker sees, expects and believes",
    "explain": "write a page that says why there is a box at a frame, or none",
    "info": "say what is in a model file",
    "tracker": "run the ROS 2 node that finds the targets",
    "follower": "run the ROS 2 node that says where a target is, and drives to it",
    "guard": "run the ROS 2 node that stops Nav2 at stop signs",
    "sim": "close the loop with a simulated robot: follow a rolling ball, stop at stop signs",
    "demo": "camera, node and receiver over real DDS on this machine",
}

# commands that are ROS 2 nodes, which read their arguments themselves: module and example
NODES = {
    "tracker": ("pvm_perception.ros.tracker_node", "-r image:=/camera/image_raw"),
    "follower": (
        "pvm_perception.ros.follower_node",
        "-r camera_info:=/camera/camera_info -p size:=0.065 -p drive:=true",
    ),
    "guard": ("pvm_perception.ros.guard_node", "-r camera_info:=/camera/camera_info -p stop_distance:=1.5"),
}


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help that shows a default only where there is one, and where the text does not say it itself."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        given = action.default
        if given is None or given is False or given == () or "(default:" in (action.help or ""):
            return action.help
        if isinstance(given, list):
            return f"{action.help} (default: {' '.join(map(str, given))})"
        return super()._get_help_string(action)


def _run_node(name: str, argv: list[str]) -> int:
    module, example = NODES[name]
    if argv and argv[0] in ("-h", "--help"):
        from pvm_perception.ros.node_settings import NODES as SETTINGS

        print(
            f"{COMMANDS[name][0].upper()}{COMMANDS[name][1:]}.\n\nExample: python -m "
            f"pvm_perception {name} --ros-args {example}\n\nParameters:"
        )
        print(SETTINGS[name].yaml_file(), end="")
        return 0
    try:
        main = importlib.import_module(module).main
    except ImportError as error:
        return _lacks(name, error)
    return main(argv)


def _lacks(command: str, error: ImportError) -> int:
    """Say which package a command lacks, and how to install it; return the exit code."""
    from pvm_perception.needs import missing

    if (error.name or "").split(".")[0] == "pvm_perception":
        raise error  # a fault of this program
    print(f"pvm_perception: error: {command} needs {missing(error)}", file=sys.stderr)
    return 2


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pvm_perception",
        description="Track a green ball or a stop sign by prediction.",
        epilog="Example: python -m pvm_perception demo",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # only the module that is asked for is imported: `tracker` needs ROS, `train` matplotlib
    wanted = next((a for a in argv if not a.startswith("-")), None)
    for name, line in COMMANDS.items():
        if name == wanted:
            module = importlib.import_module(f"pvm_perception.commands.{name}")
            sub = commands.add_parser(
                name,
                help=line,
                description=line[0].upper() + line[1:] + ".",
                epilog="Example: " + module.EXAMPLE,
                formatter_class=_Help,
            )
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
        else:
            commands.add_parser(name, help=line)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one command; bad input is one line on stderr and exit code 2."""
    from pvm_perception.errors import PvmError

    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in NODES:
        return _run_node(argv[0], argv[1:])
    try:
        args = _arguments(argv)
        return args.run(args)
    except ImportError as error:
        return _lacks(argv[0], error)
    except PvmError as error:
        print(f"pvm_perception: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except OSError as error:  # what no command has a better line for: a disk that is full, most often
        print(
            f"pvm_perception: error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr
        )
        return 2


def run(*words: str) -> None:
    """Entry point of the installed executable `pvm_perception`; a signal ends it in silence at any time."""
    argv = [*words, *sys.argv[1:]]
    ended = interrupt_on_signals()
    try:
        code = main(argv)
    except BaseException as error:
        # out of the midst of an import, an interruption may come as any exception
        number = error.number if isinstance(error, Interrupted) else next(iter(ended), 0)
        if not number:
            raise
        code = 0 if argv[0] in NODES else 128 + number
    let_signals_end()
    sys.exit(code)


def tracker() -> None:
    """Entry point of the executable `tracker` (`pvm_tracker` where pip installs it)."""
    run("tracker")


def target_follower() -> None:
    """Entry point of the executable `target_follower` (`pvm_target_follower` where pip installs it)."""
    run("follower")


def stop_sign_guard() -> None:
    """Entry point of the executable `stop_sign_guard` (`pvm_stop_sign_guard` where pip installs it)."""
    run("guard")


if __name__ == "__main__":
    run()
