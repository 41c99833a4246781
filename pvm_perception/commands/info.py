"""`info`: what is in a model file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

EXAMPLE = "python -m pvm_perception info models/robot.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "model", type=Path, nargs="?", help="model file to describe (default: the shipped one)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the whole configuration as JSON instead of a summary"
    )


def run(args: argparse.Namespace) -> int:
    """Print layers, links, size and history of a model; nothing in it is executed."""
    from pvm_perception.core.model_file import read_header
    from pvm_perception.shipped import default_model

    path = args.model or default_model()
    header = read_header(path)
    config, history = header["config"], header["history"]
    if args.json:
        print(
            json.dumps(
                {
                    "config": config.to_dict(),
                    "history": history,
                    "weights": header["weights"],
                    "bytes": header["bytes"],
                },
                indent=1,
            )
        )
        return 0
    print(f"{path}: {config.name}, {header['weights']:,} weights, {header['bytes'] / 1e6:.1f} MB")
    print(
        f"input {config.width}x{config.height}, targets {', '.join(config.targets)}, "
        f"schedule {config.schedule}, {'shared' if config.shared else 'own'} weights"
    )
    for layer in config.layers:
        inputs = [
            f"{k.kind} from {k.source}" + (f" (gain {k.gain:.3g})" if k.gain != 1 else "")
            for k in config.links
            if k.target == layer.name
        ]
        print(
            f"  {layer.name}: {layer.rows}x{layer.cols} units, code {layer.code}; "
            f"receives {', '.join(inputs)}"
        )
    for entry in history.get("shown", ()):
        print(f"shown {entry['target']} in {entry['boxes']} boxes")
    if history:
        print(
            f"trained on {history.get('frames', 0):,} frames of {history.get('clips', 0):,} "
            f"scenes in {history.get('seconds', 0) / 3600:.1f} h"
        )
        for name, value in (history.get("validation") or {}).items():
            print(f"  {name} {value:.3f}")
        for lesson in history.get("taught", ()):
            print(
                f"taught on {lesson['learnt']:,} labelled frames of {', '.join(lesson['data'])} "
                f"in {lesson['minutes']:g} min, from {lesson['from']}"
            )
    return 0
