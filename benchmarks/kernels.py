"""The CUDA kernels as compilers and arithmetic see them, or as a GPU runs them.

Registers, spills and static shared memory of each kernel for each architecture that nvcc, or else the
NVRTC that comes with CuPy, compiles for; the launches of one frame of the shipped model with what they move
and compute, and the time that they should take on three cards. With --measure, which needs a GPU:
the times of a frame and of each kernel there, and the largest difference from NumPy.
Usage: .venv/bin/python benchmarks/kernels.py [--batch N] [--output FILE | --measure FILE]
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from kernel_costs import CARDS, NODE, launches_with_costs, predicted_us

from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.backend import device_name
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import engine, plan
from pvm_perception.core.kernels.runner import Runner
from pvm_perception.core.model_file import load_model
from pvm_perception.errors import PvmError
from pvm_perception.shipped import default_model

ARCHITECTURES = (72, 75, 80, 86, 87, 89, 90)  # Xavier, Turing, A100, RTX 30, Orin, RTX 40, Hopper
QUEUED = 100  # launches of one kernel in the graph that times it
ENTRY = re.compile(r"Compiling entry function '(\w+)'(.*?)Used (\d+) registers([^\n]*)", re.DOTALL)


def compiled(architecture: int) -> tuple[str, str] | None:
    """Return (compiler, its assembler's report), or None where no compiler knows the architecture."""
    target = f"sm_{architecture}"
    if shutil.which("nvcc"):
        known = subprocess.run(["nvcc", "--list-gpu-code"], capture_output=True, text=True, check=True)
        if target in known.stdout.split():
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder) / "kernels.cu"
                source.write_text(plan.source_code())
                process = subprocess.run(
                    [
                        "nvcc",
                        "-cubin",
                        "-std=c++17",
                        f"-arch={target}",
                        "-Xptxas",
                        "-v",
                        str(source),
                        "-o",
                        str(source.with_suffix(".cubin")),
                    ],
                    capture_output=True,
                    text=True,
                    check=True,
                )
            return "nvcc", process.stderr
    try:
        from cupy_backends.cuda.libs import nvrtc

        known = nvrtc.getSupportedArchs()
    except (ImportError, RuntimeError):
        return None
    if architecture not in known:
        return None
    program = nvrtc.createProgram(plan.source_code(), "kernels.cu", [], [])
    nvrtc.compileProgram(program, (f"--gpu-architecture={target}", "--std=c++17", "--ptxas-options=-v"))
    return "nvrtc", nvrtc.getProgramLog(program)


def usage(architecture: int) -> list[dict]:
    """Return what each kernel takes on an architecture; nothing where no compiler knows it."""
    result = compiled(architecture)
    rows = []
    for name, between, registers, after in ENTRY.findall(result[1] if result else ""):
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", between))
        shared = re.search(r"(\d+) bytes smem", after)
        rows.append(
            {
                "compiler": result[0],
                "architecture": f"sm_{architecture}",
                "kernel": name,
                "registers": int(registers),
                "spilled_bytes": spilled,
                "static_shared_bytes": int(shared.group(1)) if shared else 0,
            }
        )
    return sorted(rows, key=lambda row: row["kernel"])


class Counting:
    """A device that holds tables and runs nothing."""

    name, xp, shares, packing = "nothing", np, False, None

    def __init__(self, multiprocessors: int) -> None:
        self.multiprocessors = multiprocessors

    def host(self, size: int) -> np.ndarray:
        return np.zeros(size, np.uint8)

    def put(self, array: np.ndarray) -> np.ndarray:
        return array

    def address(self, array: np.ndarray) -> int:
        return array.ctypes.data

    def load(self, launches: list) -> None:
        pass


def print_predictions(network: Hierarchy) -> None:
    """Print each card's launches, and the time of a frame launched one by one and as a graph."""
    for card in CARDS:
        planned = engine.Engine(network, Counting(card.multiprocessors))
        launches = launches_with_costs(network, planned)
        print(
            f"\n{card.name}\n| kernel | grid | threads | shared, B | read, kB | written, kB | MFLOP "
            "| us |\n|---|---|---|---|---|---|---|---|"
        )
        for k, cost in launches:
            print(
                f"| `{k.kernel}` | {k.grid[0]}x{k.grid[1]} | {k.threads} | {k.shared} "
                f"| {cost.reads / 1e3:.0f} | {cost.writes / 1e3:.0f} | {cost.flops / 1e6:.2f} "
                f"| {predicted_us(k, cost, card, 0.0):.1f} |"
            )
        single, graph = (
            sum(predicted_us(k, cost, card, between) for k, cost in launches)
            for between in (card.launch, NODE)
        )
        print(f"{len(launches)} launches, {single:.0f} us one by one, {graph:.0f} us as a graph")


def times_us(action: Callable[[], object], rounds: int) -> np.ndarray:
    """Return what each round of an action took, microseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(1e6 * (time.perf_counter() - start))
    return np.array(times)


def measure(network: Hierarchy, runner: Runner, gpu: str, rounds: int = 300) -> list[dict]:
    """Return the times of a frame and of each of its kernels, and the difference from NumPy's answers.

    A frame: image on the host to candidate boxes on the host, as a step of the tracker. A kernel: its share
    of a graph of many of its launches, so what lies between two kernels is in it.
    """
    c = network.config
    fast = engine.Engine(network, runner)
    images = np.random.default_rng(0).integers(0, 256, (8, network.batch, c.height, c.width, 3), np.uint8)

    def answered(image: np.ndarray) -> np.ndarray:
        fast.step(image)
        return fast.answers()

    apart = max(float(np.abs(network.step(image) - answered(image)).max()) for image in images)
    turns = itertools.cycle(images)
    frame = {
        "gpu": gpu,
        "what": "frame",
        "batch": network.batch,
        "grid": "",
        "threads": "",
        "largest_difference": apart,
    }
    timed = [(frame, times_us(lambda: fast.step(next(turns)), rounds))]
    small = runner.put(np.zeros(1, np.float32))
    for launch, addresses in fast.calls:
        run = runner.load([(launch, addresses)] * QUEUED)

        def many(run: Callable[[], None] = run) -> None:
            run()
            runner.read(small)  # waits

        row = {
            "gpu": gpu,
            "what": launch.kernel,
            "batch": network.batch,
            "grid": f"{launch.grid[0]}x{launch.grid[1]}",
            "threads": launch.threads,
            "largest_difference": "",
        }
        timed.append((row, times_us(many, max(rounds // 10, 1)) / QUEUED))
    return [
        row | {"us_median": float(np.median(times)), "us_p99": float(np.percentile(times, 99))}
        for row, times in timed
    ]


def measured(network: Hierarchy) -> list[dict]:
    """Return `measure`'s rows for the GPU here; PvmError where there is none."""
    from pvm_perception.core.kernels.cuda import CudaRunner

    runner = CudaRunner()
    return measure(network, runner, device_name(runner.xp))


def main() -> int:
    """Write the compilers' table and print predictions, or measure; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=1, help="streams side by side (default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/kernels.csv"),
        help="table to write of what the compilers report (default: %(default)s)",
    )
    parser.add_argument(
        "--measure", type=Path, metavar="FILE", help="measure on the GPU, and write this table"
    )
    args = parser.parse_args()
    config, weights, _ = load_model(default_model())
    network = Hierarchy(config, args.batch, weights=weights)
    if args.measure:
        try:
            rows = measured(network)
        except PvmError as error:
            print(f"kernels: error: {error}", file=sys.stderr)
            return 2
        for row in rows:
            print(f"{row['gpu']}: {row['what']:14}{row['us_median']:9.1f} us, p99 {row['us_p99']:.1f}")
        print(f"largest difference from NumPy {rows[0]['largest_difference']:.2g}")
        output = args.measure
    else:
        rows, output = [row for architecture in ARCHITECTURES for row in usage(architecture)], args.output
        if not rows:
            print("no nvcc and no CuPy: nothing was compiled", file=sys.stderr)
        print_predictions(network)
    if rows:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_csv(output, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
