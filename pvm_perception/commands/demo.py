"""`demo`: the main job on this machine; camera, node and receiver are processes of their own."""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pvm_perception.errors import PvmError
from pvm_perception.processes import run_together
from pvm_perception.shipped import shipped

if TYPE_CHECKING:
    from pvm_perception.types import Box, Track

SIMULATOR, SCENE = "simulator", 3.0  # the input without a file, and how long each of its scenes lasts, s
CLIP = "clips/drive.webm"  # the usual input: a rendered drive on five days
SIMULATED = 30.0  # frames a second of the simulator
VIDEO = "demo.webm"  # VP8, which every browser plays
VIEWS = {"prediction": "what it expected", "surprise": "surprise", "heatmap": "heat"}  # topics, and titles
EXAMPLE = "python -m pvm_perception demo --input /dev/video0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--input",
        default=str(shipped(CLIP)),
        help="where frames come from: a rendered drive unless given; or simulator, a video, a folder of "
        "images, a ROS 2 bag, or a camera device such as /dev/video0",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/demo"),
        help="folder to write the annotated video and the tables to",
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="seconds after which the run ends at the latest"
    )
    parser.add_argument(
        "--fps",
        type=float,
        help="frames a second that the camera process publishes; "
        "by default the input's own, 30 of the simulator",
    )
    parser.add_argument("--seed", type=int, default=0, help="number that fixes the simulator's scenes")
    parser.add_argument("--model", type=Path, help="model file (default: the shipped one)")


def run(args: argparse.Namespace) -> int:
    """Run the three processes, then report; exit code 1 if no boxes came."""
    frames = args.output / "frames"
    try:
        shutil.rmtree(frames, ignore_errors=True)
        frames.mkdir(parents=True)
    except OSError as error:
        raise PvmError(f"{args.output} cannot be written: {error.strerror}") from error
    if args.input != SIMULATOR:  # bad input fails before anything starts
        from pvm_perception.streams.files import open_stream

        own = open_stream(args.input).fps
        args.fps = args.fps or own
    args.fps = args.fps or SIMULATED
    try:
        import rclpy  # noqa: F401
        import vision_msgs.msg  # noqa: F401
    except ImportError as error:
        raise PvmError(f"the demo needs ROS 2 ({error}); source it or run `make setup`") from error
    _run_processes(args, frames)
    return _report(args, frames)


def _run_processes(args: argparse.Namespace, frames: Path) -> None:
    """Start receiver, node and camera; end the first two when the camera is through."""
    python = [sys.executable, "-m"]
    model = ["-p", f"model:={args.model.resolve()}"] if args.model else []
    commands = {
        "receiver": [
            *python,
            "pvm_perception.ros.demo_receiver",
            "--table",
            str(args.output / "received.csv"),
            "--frames",
            str(frames),
        ],
        "node": [
            *python,
            "pvm_perception",
            "tracker",
            "--ros-args",
            "-r",
            "image:=/camera/image_raw",
            *model,
        ],
        "camera": [
            *python,
            "pvm_perception.ros.demo_camera",
            "--input",
            args.input,
            "--truth",
            str(args.output / "truth.csv"),
            "--fps",
            str(args.fps),
            "--frames",
            str(round(args.seconds * args.fps)),
            "--seed",
            str(args.seed),
        ],
    }
    run_together(commands, leader="camera", seconds=args.seconds * 3 + 120)


def _rows(path: Path) -> dict[int, list[dict[str, str]]]:
    table = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            table[int(row["stamp"])].append(row)
    return table


def _box(row: dict[str, str]) -> tuple[float, float, float, float]:
    return float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"])


def _picture(
    frames: Path, stamp: int, before: int, tracks: Sequence[Track], truth: Sequence[Box]
) -> np.ndarray | None:
    """Return a frame of the video: boxes, what was expected, surprise, heat; None: it never came."""
    from pvm_perception.types import Box
    from pvm_perception.vision.draw import beside, draw_tracks

    camera = _image(frames / f"{stamp}.jpg")
    if camera is None:
        return None
    unnamed = [Box("", b.x, b.y, b.w, b.h) for b in truth if b.weight > 0]
    when = {"prediction": before, "surprise": stamp, "heatmap": stamp}  # expected of this, one frame earlier
    views = {VIEWS[name]: _image(frames / f"{when[name]}.{name}.png") for name in VIEWS}
    return beside(draw_tracks(camera, tracks, unnamed), views)


def _image(path: Path) -> np.ndarray | None:
    import cv2

    return cv2.imread(str(path)) if path.is_file() else None


def _report(args: argparse.Namespace, frames: Path) -> int:
    """Draw the video, say what was found in each scene, write the page."""
    from pvm_perception.bar import Bar
    from pvm_perception.evaluation.demo_report import Tally, page
    from pvm_perception.streams.film import Film
    from pvm_perception.types import Box, Track

    received, truth = _rows(args.output / "received.csv"), _rows(args.output / "truth.csv")
    length = round(SCENE * args.fps)  # frames of a scene of the simulator
    film, delays, boxes, before = Film(args.output / VIDEO, args.fps), [], 0, 0
    total = Tally()
    scenes: defaultdict[str, Tally] = defaultdict(Tally)
    for number, stamp in enumerate(Bar(sorted(truth), desc="demo: drawing the video, frame", leave=False)):
        labelled = [
            Box(r["target"], *_box(r), weight=float(r["weight"])) for r in truth[stamp] if r["target"]
        ]
        tracks = [
            Track(r["target"], *_box(r), float(r["score"]), int(r["id"]))
            for r in received.get(stamp, ())
            if r["target"]
        ]
        if stamp in received:
            delays.append(float(received[stamp][0]["latency_ms"]))
            boxes += len(tracks)
            if truth[stamp][0]["known"] == "1":
                usual = str(number // length + 1) if args.input == SIMULATOR else ""
                for tally in (total, scenes[truth[stamp][0]["scene"] or usual]):
                    tally.add(tracks, labelled)
        picture = _picture(frames, stamp, before, tracks, labelled)
        if picture is not None:
            film.write(picture, stamp * 1e-9)
        before = stamp
    film.close()
    shutil.rmtree(frames)
    named = list(scenes.items()) if len(scenes) > 1 else []
    for name, tally in named:
        print(f"demo: scene {name}: {tally.words()}")
    if total.frames:
        named.append(("all", total))
        print(f"demo: all: {total.words()}")
    p50, p99 = np.percentile(delays, [50, 99]) if delays else (float("nan"),) * 2
    line = (
        f"demo: frames={len(delays)} boxes={boxes} mean_iou={total.mean_iou:.3f} "
        f"latency_ms_p50={p50:.1f} latency_ms_p99={p99:.1f}"
    )
    page(args.output / "index.html", VIDEO, line, named)
    print(
        f"demo: {len(truth)} frames sent, {len(delays)} came back as detections; open "
        f"{args.output / 'index.html'} in a browser, or {args.output / VIDEO}"
    )
    print(line)
    return 0 if boxes else 1
