"""`sim`: the whole loop closed: a simulated robot follows the ball and stops at the sign."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pvm_perception.closed_loop import score
from pvm_perception.closed_loop.score import Moment
from pvm_perception.closed_loop.simulation import engine
from pvm_perception.closed_loop.world import BALL_RADIUS, SIGN_SIZE
from pvm_perception.commands.evaluate import write_csv
from pvm_perception.errors import PvmError, writing
from pvm_perception.processes import run_together

EXAMPLE = "python -m pvm_perception sim --scenario ball --seconds 20"
DISTANCE = 1.0  # m to keep from the ball
FOLLOWER = {
    "size": 2 * BALL_RADIUS,
    "drive": True,
    "follow_distance": DISTANCE,
    "distance_tolerance": 0.05,
    "distance_gain": 3.0,
    "max_speed": 0.5,
}
GUARD = {"size": SIGN_SIZE}
# what the robot is to reach: ball in view, error of the kept distance, no collision, all stops made
IN_VIEW, DISTANCE_ERROR = 0.9, 0.2
ROAD_SECONDS = 40.0  # the longest run along the road, simulated


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--scenario",
        choices=("ball", "sign", "both"),
        default="both",
        help="what the robot does: ball = follow a rolling ball, sign = stop at a stop sign, "
        "both = one after the other",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/sim"),
        help="folder to write videos, tables, plot and figures to",
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="simulated seconds of each run with the ball"
    )
    parser.add_argument(
        "--ball-runs", type=int, default=3, help="number of runs with the ball, each in another place"
    )
    parser.add_argument(
        "--runs",
        type=int,
        default=5,
        help="number of runs along the road with the stop sign, each along another one",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="number that fixes the first run's place; later runs count up from it",
    )
    parser.add_argument("--model", type=Path, help="model file (default: the shipped one)")


def run(args: argparse.Namespace) -> int:
    """Run the scenarios, then report; exit code 1 where the robot missed what it is to reach."""
    if args.seconds <= 0 or args.runs < 1 or args.ball_runs < 1:
        raise PvmError("--seconds, --ball-runs and --runs must be above 0")
    engine()
    try:
        import nav2_msgs.msg  # noqa: F401
        import rclpy  # noqa: F401
        import vision_msgs.msg  # noqa: F401
    except ImportError as error:
        raise PvmError(f"sim needs ROS 2 ({error}); source it or run `make setup`") from error
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PvmError(f"{args.output} cannot be written: {error.strerror}") from error
    runs: dict[str, list[Moment]] = {}
    for name, count, seconds in (("ball", args.ball_runs, args.seconds), ("sign", args.runs, ROAD_SECONDS)):
        if args.scenario in (name, "both"):
            runs |= {
                f"{name}_{seed}": _scenario(args, name, seed, seconds)
                for seed in range(args.seed, args.seed + count)
            }
    return _report(args.output, runs)


def _scenario(args: argparse.Namespace, name: str, seed: int, seconds: float) -> list[Moment]:
    """Run simulation, tracker, and follower or guard as processes; return what happened."""
    label = f"{name}_{seed}"
    table = args.output / f"{label}.csv"
    node, settings = {"ball": ("follower", FOLLOWER), "sign": ("guard", GUARD)}[name]
    camera = ["-r", "camera_info:=/camera/camera_info"]
    model = {"model": args.model.resolve()} if args.model else {}
    python = [sys.executable, "-m"]
    run_together(
        {
            "tracker": [
                *python,
                "pvm_perception",
                "tracker",
                "--ros-args",
                "-r",
                "image:=/camera/image_raw",
                *_parameters({"reliability": "reliable"} | model),
            ],
            node: [*python, "pvm_perception", node, "--ros-args", *camera, *_parameters(settings)],
            "simulation": [
                *python,
                "pvm_perception.closed_loop.bridge",
                "--scenario",
                name,
                "--seed",
                str(seed),
                "--seconds",
                str(seconds),
                "--table",
                str(table),
                "--video",
                str(args.output / f"{label}.mp4"),
            ],
        },
        leader="simulation",
        seconds=120 + 60 * seconds,
    )
    return score.read_moments(table)


def _parameters(values: dict[str, Any]) -> list[str]:
    """Return parameters as ROS arguments; all nodes live in the simulation's time."""

    def text(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    return [
        word
        for name, value in (values | {"use_sim_time": True}).items()
        for word in ("-p", f"{name}:={text(value)}")
    ]


def _report(folder: Path, runs: Mapping[str, Sequence[Moment]]) -> int:
    figures = {
        name: score.ball_figures(moments, DISTANCE) if _follows(name) else score.sign_figures(moments)
        for name, moments in runs.items()
    }
    _plot(folder / "paths.png", runs)
    _write(folder, figures)
    for name, values in figures.items():
        print(
            f"sim: {name}: "
            + " ".join(f"{k}={f'{v:.3f}' if isinstance(v, float) else v}" for k, v in values.items())
        )
    balls = [v for name, v in figures.items() if _follows(name)]
    signs = [v for name, v in figures.items() if not _follows(name)]
    collisions, stops = sum(v["collisions"] for v in figures.values()), sum(v["stopped"] for v in signs)
    worst, mean = score.worst(balls), score.mean(balls)
    if balls:
        print(
            f"sim: ball, {len(balls)} places: "
            + " ".join(f"{k}_worst={worst[k]:.3f} {k}_mean={mean[k]:.3f}" for k in worst)
        )
    print(
        f"sim: in_view={worst['in_view']:.3f} distance_error={worst['distance_error']:.3f} "
        f"collisions={collisions} stops={stops}/{len(signs)}"
    )
    followed = not balls or (worst["in_view"] >= IN_VIEW and worst["distance_error"] <= DISTANCE_ERROR)
    return 0 if followed and not collisions and stops == len(signs) else 1


def _follows(name: str) -> bool:
    """Tell whether a run is one with the ball."""
    return name.startswith("ball_")


def _write(folder: Path, figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Write all figures as JSON, and as a table with a row for each run."""
    with writing(folder / "figures.json"):
        (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    write_csv(folder / "figures.csv", [{"run": name} | dict(values) for name, values in figures.items()])


def _plot(path: Path, runs: Mapping[str, Sequence[Moment]]) -> None:
    """Draw the ways of robot and target, and distance or speed over time; a row for each run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, rows = plt.subplots(len(runs), 2, figsize=(11, 3.6 * len(runs)), squeeze=False)
    for (ways, curves), (name, moments) in zip(rows, runs.items(), strict=True):
        ways.plot([m.x for m in moments], [m.y for m in moments], label="robot")
        ways.plot(
            [m.target_x for m in moments],
            [m.target_y for m in moments],
            "-" if _follows(name) else "8",
            label="ball" if _follows(name) else "sign",
        )
        ways.set(title=name, xlabel="x (m)", ylabel="y (m)", aspect="equal")
        times = [m.time for m in moments]
        curves.plot(times, [m.distance for m in moments], label="distance (m)")
        curves.plot(times, [m.speed for m in moments], label="speed (m/s)")
        curves.plot(times, [m.overlap for m in moments], ".", markersize=2, label="overlap of the box")
        if _follows(name):
            curves.axhline(DISTANCE, color="grey", linestyle=":")
        curves.set(xlabel="simulated time (s)", ylim=(0, None))
        for axes in (ways, curves):
            axes.legend(loc="upper right")
            axes.grid(alpha=0.3)
    figure.tight_layout()
    with writing(path):
        figure.savefig(path)
    plt.close(figure)
