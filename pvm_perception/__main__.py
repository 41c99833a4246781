"""The command line: `python -m pvm_perception COMMAND`. Each command is a module in `commands`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

# command and its line in the overview; a new one is a module in `commands` and an entry here
COMMANDS = {
    "track": "find the targets in a video, a folder of images, a camera or a bag; write boxes",
    "evaluate": "score a model on labelled sequences; write a table, JSON and a report",
    "train": "train a model on simulated scenes",
    "simulate": "write simulated frames with their truth as a labelled sequence",
    "info": "say what is in a model file",
    "tracker": "run the ROS 2 node",
    "demo": "camera, node and receiver over real DDS on this machine",
}


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pvm_perception", description="Track a green ball or a stop sign by prediction.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # only the module that is asked for is imported: `tracker` needs ROS, `train` matplotlib
    wanted = next((a for a in argv if not a.startswith("-")), None)
    for name, line in COMMANDS.items():
        if name == wanted:
            module = importlib.import_module(f"pvm_perception.commands.{name}")
            sub = commands.add_parser(name, help=line, description=line[0].upper() + line[1:] + ".",
                                      epilog="Example: " + module.EXAMPLE,
                                      formatter_class=argparse.ArgumentDefaultsHelpFormatter)
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
        else:
            commands.add_parser(name, help=line)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one command; bad input is one line on stderr and exit code 2."""
    # one BLAS thread: small products gain nothing from more, and a robot has other work to do
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from pvm_perception.errors import PvmError

    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["tracker"]:  # ROS arguments are not ours to parse
        try:
            from pvm_perception.ros.tracker_node import main as tracker
        except ImportError as error:
            print(f"pvm_perception: error: ROS 2 is needed for the node ({error}); source it or "
                  "run `make setup`", file=sys.stderr)
            return 2

        return tracker(argv[1:])
    args = _arguments(argv)
    try:
        return args.run(args)
    except PvmError as error:
        print(f"pvm_perception: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def run() -> None:
    """Entry point of the installed executable `pvm_perception`."""
    sys.exit(main())


if __name__ == "__main__":
    run()
