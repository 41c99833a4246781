"""`explain`: one page that says why there is a box at a frame, or none."""

from __future__ import annotations

import argparse
from collections import deque
from pathlib import Path

from pvm_perception.commands.arguments import add_device
from pvm_perception.errors import PvmError

EXAMPLE = "python -m pvm_perception explain --input drive.mp4 --frame 120 --output why.html"
RUN_UP = 60  # frames before the explained one that are looked at, so that state and tracks are as they were


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        help="where the frame comes from: a video, a folder of images, or a ROS 2 bag (MCAP or sqlite3)",
    )
    parser.add_argument(
        "--frame", type=int, required=True, metavar="N", help="number of the frame to explain, counted from 0"
    )
    parser.add_argument(
        "--target", help="name of the target to explain (default: the first that the model knows)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="PAGE.html",
        help="HTML page to write; pictures are in it",
    )
    parser.add_argument("--model", type=Path, help="model file (default: the shipped one)")
    parser.add_argument("--topic", help="topic of the images in a bag; needed where it has several")
    parser.add_argument(
        "--memory",
        type=Path,
        metavar="DIR",
        help="folder of moments, of which the most similar are shown (default: none)",
    )
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Run up to the frame and write the page."""
    from pvm_perception.api import Tracker
    from pvm_perception.atomic_file import atomic_file
    from pvm_perception.bar import Bar
    from pvm_perception.core.model_file import read_header
    from pvm_perception.explanation.facts import gather
    from pvm_perception.explanation.page import page, similar_moments
    from pvm_perception.shipped import default_model
    from pvm_perception.streams.files import open_stream
    from pvm_perception.types import Frame

    if args.frame < 0:
        raise PvmError("--frame counts from 0")
    model = args.model or default_model()
    tracker = Tracker(read_header(model)["config"].targets, model, args.device)
    target = args.target or tracker.known_targets[0]
    tracker.targets = (target,)
    recent: deque[Frame] = deque(maxlen=RUN_UP + 1)
    count = 0
    for frame in Bar(open_stream(args.input, args.topic), unit="frame", desc="read", leave=False):
        recent.append(frame)
        count += 1
        if count > args.frame:
            break
    if count <= args.frame:
        raise PvmError(f"{args.input} has {count} frames; --frame {args.frame} is none of them")
    facts = gather(tracker, list(recent), target)
    similar = similar_moments(args.memory, facts.image) if args.memory else []
    text = page(facts, (tracker.config.height, tracker.config.width), similar)
    with atomic_file(args.output, "page") as part:
        part.write_text(text, encoding="utf-8")
    print(facts.verdict())
    print(f"{args.output} written")
    return 0
