"""`simulate`: simulated frames with their truth, as a labelled sequence."""

from __future__ import annotations

import argparse
from pathlib import Path

from pvm_perception.errors import PvmError
from pvm_perception.types import TARGETS

EXAMPLE = "python -m pvm_perception simulate --output build/scene --frames 300 --seed 1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--output", type=Path, required=True, help="folder to write the frames and groundtruth.csv to"
    )
    parser.add_argument(
        "--stills",
        type=Path,
        help="folder of labelled stills to move a virtual camera over (default: generated scenes)",
    )
    parser.add_argument("--frames", type=int, default=300, help="number of frames to write")
    parser.add_argument("--seed", type=int, default=0, help="number that fixes every pixel")
    parser.add_argument("--width", type=int, default=640, help="width of a frame in pixels")
    parser.add_argument("--height", type=int, default=480, help="height of a frame in pixels")
    parser.add_argument(
        "--fps",
        type=float,
        default=30.0,
        help="frames a second; the more, the less moves between two of them",
    )


def run(args: argparse.Namespace) -> int:
    """Write frames/*.jpg and groundtruth.csv."""
    from pvm_perception.bar import Bar
    from pvm_perception.signals import Stop
    from pvm_perception.streams.generated import SimulatedStream
    from pvm_perception.streams.groundtruth import write_groundtruth
    from pvm_perception.streams.stills import StillsStream, load_stills
    from pvm_perception.vision.compressed_image import write_image

    if args.frames < 1 or args.seed < 0 or args.fps <= 0:
        raise PvmError("--frames and --fps must be above 0, --seed must not be negative")
    if not (64 <= args.width <= 4096 and 64 <= args.height <= 4096):
        raise PvmError("--width and --height must lie between 64 and 4096")
    stills = load_stills(args.stills) if args.stills else None
    folder = args.output / "frames"
    if folder.exists() and any(folder.iterdir()):
        raise PvmError(f"{folder} is not empty; give another --output or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PvmError(f"{folder} cannot be written: {error.strerror}") from error
    size = (args.height, args.width)
    stream = (
        StillsStream(stills, args.seed, size, args.fps, args.frames)
        if stills
        else SimulatedStream(args.seed, size, args.fps, args.frames)
    )
    labels = []
    with Stop(impatient=True) as stop:
        for frame in Bar(stream, total=args.frames, unit="frame"):
            if stop.is_set():
                break
            name = f"{int(frame.name):06d}.jpg"
            write_image(folder / name, frame.image)
            labels.append((name, frame.boxes))
        write_groundtruth(args.output / "groundtruth.csv", labels, TARGETS)
    print(f"{len(labels)} frames in {args.output}")
    return stop.code
