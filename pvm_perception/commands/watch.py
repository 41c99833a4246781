"""`watch`: what the tracker sees, expects and believes, live in the browser or in a recording."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pvm_perception.commands.arguments import add_tracker
from pvm_perception.signals import Stop

if TYPE_CHECKING:
    from pvm_perception.api import Tracker
    from pvm_perception.live_view import LiveView

EXAMPLE = "python -m pvm_perception watch --input /dev/video0 --record build/watch.rrd"
SIMULATOR = "simulator"
LOOPBACK = "127.0.0.1"  # a camera's pictures are nobody else's business: other machines come by ssh
SIZE = (480, 640)  # rows and columns of the simulator's frames


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--input",
        default=SIMULATOR,
        help="where frames come from: simulator, a video, a folder of images, a ROS 2 bag, "
        "or a camera device such as /dev/video0",
    )
    parser.add_argument(
        "--ros",
        metavar="TOPIC",
        help="image topic of a robot whose tracker runs: show what that publishes, and run no network here",
    )
    parser.add_argument(
        "--node", default="/pvm_tracker", help="with --ros: full name of the tracker whose pictures to show"
    )
    parser.add_argument("--topic", help="topic of the images in a bag; needed where it has several")
    parser.add_argument(
        "--odom-topic",
        help="topic of the robot's odometry in a bag; '' uses none (default: the only one in the bag)",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE.rrd",
        help="file to record everything to, for the Rerun viewer (default: none)",
    )
    parser.add_argument(
        "--no-viewer", action="store_true", help="serve no page: only record, as fast as the computer allows"
    )
    parser.add_argument(
        "--port", type=int, default=9090, help="TCP port of the page; its data use the next one"
    )
    parser.add_argument(
        "--address",
        default=LOOPBACK,
        help="address of this host on which page and data can be opened; 0.0.0.0 = from "
        "every "
        "machine that reaches it",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=15.0,
        help="frames a second that the page shows at most, so that it never lags; 0 = all; a recording "
        "holds all",
    )
    parser.add_argument("--frames", type=int, help="number of frames after which it ends (default: no limit)")
    add_tracker(parser, "report")
    parser.add_argument(
        "--learn",
        action="store_true",
        help="learn to foresee the next picture from these frames while tracking them; boxes stay "
        "as they are",
    )
    parser.add_argument("--seed", type=int, default=0, help="number that fixes the simulator's scenes")


def run(args: argparse.Namespace) -> int:
    """Show a stream at its own pace until it ends; then wait, so that a person can look around."""
    from pvm_perception.api import Tracker
    from pvm_perception.errors import PvmError, warn
    from pvm_perception.live_view import LiveView
    from pvm_perception.streams.files import open_stream
    from pvm_perception.streams.generated import SimulatedStream

    if args.no_viewer and args.record is None:
        raise PvmError("--no-viewer shows nothing and no --record FILE.rrd was given")
    if args.frames is not None and args.frames < 1:
        raise PvmError("--frames must be 1 or more")
    if not args.rate >= 0:
        raise PvmError("--rate must be 0 or more frames a second")
    if args.record is not None:
        args.rate = 0.0
    if args.ros:
        return _attach(args)
    if args.no_viewer and args.input == SIMULATOR and args.frames is None:
        raise PvmError("the simulator never ends; with --no-viewer, say how many --frames to record")
    stream = (
        SimulatedStream(args.seed, SIZE, frames=args.frames)
        if args.input == SIMULATOR
        else open_stream(args.input, args.topic, args.odom_topic)
    )
    tracker = Tracker(args.targets, args.model, args.device, args.learn)
    if tracker.notice:
        warn(tracker.notice)
    with ExitStack() as stack:
        stop = stack.enter_context(Stop(impatient=True))
        view = LiveView(tracker, args.record, None if args.no_viewer else args.port, args.address)
        stack.callback(view.close)
        if view.url:
            print(f"open {view.url}\nCtrl-C ends it", flush=True)
        count = _play(stream, tracker, view, args, stop)
        if not count and not stop.is_set():
            raise PvmError(f"no image in {args.input} could be read")
        if view.url and not stop.is_set():
            print(f"{args.input} has ended after {count} frames; the page stays until Ctrl-C", flush=True)
            stop.wait()
    print(f"{count} frames" + (f", recorded in {args.record}" if args.record else ""))
    return 0


def _attach(args: argparse.Namespace) -> int:
    """Show what a running tracker publishes, until a signal or --frames ends it."""
    from pvm_perception.errors import PvmError
    from pvm_perception.live_page import LivePage

    try:
        from pvm_perception.ros.watch_node import check_names, watch
    except ImportError as error:
        raise PvmError(f"--ros needs ROS 2 ({error}); source it, or run `make setup`") from error
    check_names(args.ros, args.node)
    with ExitStack() as stack:
        stop = stack.enter_context(Stop(impatient=True))
        page = LivePage(args.record, None if args.no_viewer else args.port, args.address)
        stack.callback(page.close)
        if page.url:
            print(f"open {page.url}\nCtrl-C ends it", flush=True)
        count = watch(
            page, args.ros, args.node, args.rate, lambda shown: stop.is_set() or shown == args.frames
        )
    print(f"{count} frames" + (f", recorded in {args.record}" if args.record else ""))
    return 0


def _play(stream: Any, tracker: Tracker, view: LiveView, args: argparse.Namespace, stop: Stop) -> int:
    """Look at one frame after the other; return how many there were."""
    from pvm_perception.bar import Bar
    from pvm_perception.live_page import Thinner

    count, thinner = 0, Thinner(0.0 if args.no_viewer else args.rate)
    length = args.frames or stream.length
    # a camera sets the pace itself
    period = 0.0 if args.no_viewer or getattr(stream, "live", False) else 1 / stream.fps
    due = time.monotonic()
    for frame in Bar(stream, total=length, unit="frame", disable=None if args.no_viewer else True):
        tracks = tracker.update(frame.image, frame.stamp, frame.motion, frame.ahead)
        if thinner.passes():
            view.show(count, frame, tracks)
        count += 1
        due = max(due + period, time.monotonic())
        if stop.wait(due - time.monotonic()) or count == args.frames:
            break
    return count
