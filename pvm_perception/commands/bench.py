"""`bench`: time, work, traffic and memory on this machine, with its peaks and with other methods."""

from __future__ import annotations

import argparse
from pathlib import Path

from pvm_perception.core.config import PRESETS
from pvm_perception.errors import PvmError

EXAMPLE = "python -m pvm_perception bench --preset robot --batch 1 8 --output build/bench"
LEARN = {"off": (False,), "on": (True,), "both": (False, True)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--output", type=Path, default=Path("build/bench"), help="folder to write bench.csv and bench.png to"
    )
    parser.add_argument(
        "--preset",
        nargs="+",
        choices=sorted(PRESETS),
        default=["robot", "paper"],
        help="networks to measure: robot with the shipped weights, paper with new ones",
    )
    parser.add_argument(
        "--device",
        nargs="+",
        choices=("cpu", "cuda"),
        help="where to run each network (default: cpu, and cuda where a GPU answers)",
    )
    parser.add_argument(
        "--batch",
        nargs="+",
        type=int,
        default=[1, 4],
        help="numbers of streams that run side by side; one measurement for each",
    )
    parser.add_argument(
        "--learn",
        choices=sorted(LEARN),
        default="both",
        help="measure networks that do not learn (off), that learn from the stream (on), or both",
    )
    parser.add_argument("--frames", type=int, default=300, help="frames timed for each row of the table")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="measure few frames and sizes, in some seconds, for a first impression",
    )


def run(args: argparse.Namespace) -> int:
    """Measure; the table goes to the terminal and, as CSV and picture, to the output folder."""
    from tempfile import TemporaryDirectory

    from pvm_perception.bar import Bar
    from pvm_perception.commands.evaluate import write_csv
    from pvm_perception.evaluation.bench import COMPARED, Bench, BenchOptions, with_ratios
    from pvm_perception.evaluation.bench_report import draw, table
    from pvm_perception.evaluation.peer_process import HOW
    from pvm_perception.evaluation.peers import PEERS

    if min(args.batch) < 1 or args.frames < 1:
        raise PvmError("--batch and --frames must be above 0")
    values = {
        "presets": tuple(args.preset),
        "batches": tuple(args.batch),
        "learn": LEARN[args.learn],
        "frames": args.frames,
        "devices": _devices(args.device),
    }
    if args.quick:
        values |= {"frames": 10, "starts": 1, "sizes": (1,), "codes": (0.5, 1)}
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PvmError(f"{args.output} cannot be written: {error.strerror}") from error
    rows = []
    with TemporaryDirectory() as folder:
        jobs = list(Bench(BenchOptions(**values), Path(folder)).jobs())
        with Bar(jobs, unit="row") as bar:
            for part, what, measure in bar:
                bar.set_postfix_str(f"{part}: {what}")
                rows.append({"part": part, "what": what} | measure())
    rows = with_ratios(rows)
    print(table(rows))
    write_csv(args.output / "bench.csv", rows)
    draw(rows, args.output / "bench.png")
    print(f"bench.csv, bench.png in {args.output}")
    left = [name for name in COMPARED if not PEERS[name].installed]
    if left:
        print(f"left out: {', '.join(left)}; {HOW}")
    return 0


def _devices(asked: list[str] | None) -> tuple[str, ...]:
    """Return the devices to run on; where none was asked for, say why there is no GPU."""
    from pvm_perception.core.backend import array_module

    for device in asked or ():
        array_module(device)
    if asked:
        return tuple(dict.fromkeys(asked))
    try:
        array_module("cuda")
    except PvmError as error:
        print(f"cpu only: {error}", flush=True)
        return ("cpu",)
    return ("cpu", "cuda")
