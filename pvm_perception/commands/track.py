"""`track`: boxes of the targets in a video, a folder of images, a camera or a bag."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from pvm_perception.commands.arguments import add_tracker

COLUMNS = ("frame", "target", "x", "y", "w", "h", "score", "id", "stamp")
EXAMPLE = "python -m pvm_perception track --input clip.mp4 --output boxes.csv --video out.mp4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--input",
        required=True,
        help="where frames come from: a video, a folder of images, a camera such as 0 or "
        "/dev/video0, an address (rtsp://, http://), or a ROS 2 bag (.mcap, .db3, "
        "folder)",
    )
    parser.add_argument("--topic", help="topic of the images in a bag; needed where it has several")
    parser.add_argument(
        "--odom-topic",
        help="topic of the robot's odometry in a bag; '' uses none (default: the only one in the bag)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="CSV file to write, one row for each box: " + ",".join(COLUMNS),
    )
    add_tracker(parser, "report")
    parser.add_argument(
        "--learn",
        action="store_true",
        help="learn to foresee the next picture from these frames while tracking them; boxes stay "
        "as they are, a frame takes longer",
    )
    parser.add_argument(
        "--save-model", type=Path, help="with --learn: file to write the model to, with what it learnt"
    )
    parser.add_argument(
        "--memory",
        type=Path,
        metavar="DIR",
        help="folder to keep moments in, pictures of this input, for `sleep` to learn from (default: none is "
        "kept)",
    )
    parser.add_argument(
        "--video",
        type=Path,
        help="video file to write the frames to, with their boxes drawn in (default: none)",
    )
    parser.add_argument(
        "--output-bag",
        type=Path,
        metavar="FILE.mcap",
        help="bag to write the boxes to, as vision_msgs/Detection2DArray (default: none)",
    )
    parser.add_argument(
        "--stills",
        action="store_true",
        help="take the input as unrelated images: the state is reset before each",
    )
    parser.add_argument(
        "--horizon",
        type=int,
        default=0,
        help="number of frames ahead: each box is reported where it is expected then; 0 = where it is seen",
    )


def run(args: argparse.Namespace) -> int:
    """Track; rows are written as frames come, so that an interrupted run loses nothing."""
    from contextlib import ExitStack

    from pvm_perception.api import Tracker
    from pvm_perception.bar import Bar
    from pvm_perception.errors import PvmError, warn, writing
    from pvm_perception.living.moments import MomentMemory
    from pvm_perception.living.recorder import Recorder
    from pvm_perception.signals import Stop
    from pvm_perception.streams.bags import DetectionBag
    from pvm_perception.streams.files import open_stream
    from pvm_perception.streams.film import Film
    from pvm_perception.vision.draw import draw_tracks

    if args.horizon < 0:
        raise PvmError("--horizon must be 0 or more frames")
    if args.memory and args.stills:
        raise PvmError("--memory keeps moments of a stream, and --stills are none")
    stream = open_stream(args.input, args.topic, args.odom_topic)
    tracker = Tracker(args.targets, args.model, args.device, args.learn)
    if tracker.notice:
        warn(tracker.notice)
    frames = rows = 0
    with ExitStack() as stack:  # what is in it ends in good order, whatever comes
        stop = stack.enter_context(Stop(impatient=True))
        if args.save_model:
            stack.callback(tracker.save, args.save_model)
        stack.enter_context(writing(args.output))
        args.output.parent.mkdir(parents=True, exist_ok=True)
        table = csv.writer(stack.enter_context(args.output.open("w", newline="", encoding="utf-8")))
        table.writerow(COLUMNS)
        bag = stack.enter_context(DetectionBag(args.output_bag)) if args.output_bag else None
        memory = Recorder(MomentMemory(args.memory), warn, patient=True) if args.memory else None
        if memory is not None:
            stack.callback(memory.close)
        film = stack.enter_context(Film(args.video, stream.fps)) if args.video else None
        for frame in Bar(stream, total=stream.length, unit="frame"):
            if stop.is_set():
                break
            tracks = (
                tracker.track_still(frame.image)
                if args.stills
                else tracker.update(frame.image, frame.stamp, frame.motion, frame.ahead)
            )
            if memory is not None:
                surprise = float(tracker.surprise().mean())
                memory.see(frame.image, frame.stamp, frame.motion, tracks, surprise)
            if args.horizon:
                tracks = tracker.forecast(args.horizon)
            stamp = "" if frame.stamp is None else f"{frame.stamp:.6f}"
            table.writerows(
                [
                    frame.name,
                    t.target,
                    *(f"{v:.2f}" for v in (t.x, t.y, t.w, t.h)),
                    f"{t.score:.4f}",
                    t.id,
                    stamp,
                ]
                for t in tracks
            )
            rows, frames = rows + len(tracks), frames + 1
            if bag is not None:
                bag.write(frame, tracks)
            if film is not None:
                film.write(draw_tracks(frame.image, tracks, frame.boxes), frame.stamp)
    if not frames and not stop.is_set():
        raise PvmError(f"no image in {args.input} could be read")
    print(f"{frames} frames, {rows} boxes, written to {args.output}")
    return stop.code
