"""`demo`: the main job on this machine; camera, node and receiver are processes of their own."""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from pvm_perception.errors import PvmError
from pvm_perception.processes import run_together

EXAMPLE = "python -m pvm_perception demo --input /dev/video0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--input",
        default="simulator",
        help="where frames come from: simulator, a video, a folder of images, a ROS 2 bag, "
        "or a camera device such as /dev/video0",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/demo"),
        help="folder to write the annotated video and the tables to",
    )
    parser.add_argument(
        "--seconds", type=float, default=24.0, help="seconds after which the run ends at the latest"
    )
    parser.add_argument(
        "--fps", type=float, default=30.0, help="frames a second that the camera process publishes"
    )
    parser.add_argument("--seed", type=int, default=0, help="number that fixes the simulator's scenes")
    parser.add_argument("--model", type=Path, help="model file to use instead of the shipped one")


def run(args: argparse.Namespace) -> int:
    """Run the three processes, then report; exit code 1 if no boxes came."""
    frames = args.output / "frames"
    try:
        shutil.rmtree(frames, ignore_errors=True)
        frames.mkdir(parents=True)
    except OSError as error:
        raise PvmError(f"{args.output} cannot be written: {error.strerror}") from error
    if args.input != "simulator":  # bad input fails before anything starts
        from pvm_perception.streams.files import open_stream

        open_stream(args.input)
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


def _report(args: argparse.Namespace, frames: Path) -> int:
    import cv2

    from pvm_perception.evaluation.boxes import TOUCH
    from pvm_perception.evaluation.metrics import overlap
    from pvm_perception.streams.film import Film
    from pvm_perception.types import Box, Track
    from pvm_perception.vision.draw import draw_tracks

    received, truth = _rows(args.output / "received.csv"), _rows(args.output / "truth.csv")

    def box_of(row: dict[str, str]) -> tuple[float, float, float, float]:
        return float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"])

    def four(row: dict[str, str]) -> np.ndarray:
        return np.array(box_of(row))

    film, ious, delays = Film(args.output / "demo.mp4", args.fps), [], []
    boxes = wanted = found = known = wrong = 0
    for stamp in sorted(truth):
        reported = [r for r in received.get(stamp, ()) if r["target"]]
        labelled = [r for r in truth[stamp] if r["target"]]
        if stamp in received:
            delays.append(float(received[stamp][0]["latency_ms"]))
            boxes += len(reported)
            if truth[stamp][0]["known"] == "1":
                for target in {r["target"] for r in labelled}:
                    wanted += 1
                    best = [
                        overlap(four(a), four(b))
                        for a in reported
                        for b in labelled
                        if a["target"] == b["target"] == target
                    ]
                    found += bool(best)
                    ious += [float(max(best))] if best else []
                known += 1
                # as `evaluate` counts: a box that touches no target, on whatever frame
                wrong += any(
                    max(
                        [
                            0.0,
                            *(
                                float(overlap(four(a), four(b)))
                                for b in labelled
                                if a["target"] == b["target"]
                            ),
                        ]
                    )
                    < TOUCH
                    for a in reported
                )
        picture = cv2.imread(str(frames / f"{stamp}.jpg"))
        if picture is None:
            continue
        tracks = [Track(r["target"], *box_of(r), float(r["score"]), int(r["id"])) for r in reported]
        film.write(draw_tracks(picture, tracks, [Box("", *box_of(r)) for r in labelled]), stamp * 1e-9)
    film.close()
    shutil.rmtree(frames)
    print(
        f"demo: {len(truth)} frames sent, {len(delays)} came back as detections; annotated "
        f"video in {args.output / 'demo.mp4'}"
    )
    if wanted:
        print(
            f"demo: boxes on {100 * found / wanted:.0f} % of {wanted} targets in view (mean_iou: "
            f"over these; {sum(ious) / wanted:.3f} with the missed as 0)"
        )
    if known:
        print(f"demo: false boxes, which touch no target, on {wrong} of {known} frames")
    p50, p99 = np.percentile(delays, [50, 99]) if delays else (float("nan"),) * 2
    print(
        f"demo: frames={len(delays)} boxes={boxes} mean_iou="
        f"{float(np.mean(ious)) if ious else float('nan'):.3f} "
        f"latency_ms_p50={p50:.1f} latency_ms_p99={p99:.1f}"
    )
    return 0 if boxes else 1
