"""The CUDA kernels as compilers and arithmetic see them, and, where there is a GPU, as it runs them.

Registers, spills and static shared memory of each kernel for each architecture that nvcc, or else the
NVRTC beside CuPy, compiles for; the launches of one frame of the shipped model with what they move
and compute, and the time that they should take on three cards. With a GPU also: the largest
difference from NumPy, and the time of a frame.
Usage: .venv/bin/python benchmarks/kernels.py [--batch N] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np

from pvm_perception.api import default_model
from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.gpu import engine, plan
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model
from pvm_perception.errors import PvmError

ARCHITECTURES = (72, 75, 80, 86, 87, 89, 90)  # Xavier, Turing, A100, RTX 30, Orin, RTX 40, Hopper
ENTRY = re.compile(r"Compiling entry function '(\w+)'(.*?)Used (\d+) registers([^\n]*)", re.DOTALL)


def compiled(architecture: int) -> tuple[str, str] | None:
    """Return (compiler, what its assembler tells), or None where no compiler knows the architecture."""
    target = f"sm_{architecture}"
    if shutil.which("nvcc"):
        known = subprocess.run(["nvcc", "--list-gpu-code"], capture_output=True, text=True, check=True)
        if target in known.stdout.split():
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder) / "kernels.cu"
                source.write_text(engine.source_code())
                process = subprocess.run(
                    ["nvcc", "-cubin", "-std=c++17", f"-arch={target}", "-Xptxas", "-v", str(source),
                     "-o", str(source.with_suffix(".cubin"))], capture_output=True, text=True,
                    check=True)
            return "nvcc", process.stderr
    try:
        from cupy_backends.cuda.libs import nvrtc
        known = nvrtc.getSupportedArchs()
    except (ImportError, RuntimeError):
        return None
    if architecture not in known:
        return None
    program = nvrtc.createProgram(engine.source_code(), "kernels.cu", [], [])
    nvrtc.compileProgram(program, (f"--gpu-architecture={target}", "--std=c++17",
                                   "--ptxas-options=-v"))
    return "nvrtc", nvrtc.getProgramLog(program)


def usage(architecture: int) -> list[dict]:
    """Return what each kernel takes on an architecture; nothing where no compiler knows it."""
    result = compiled(architecture)
    rows = []
    for name, between, registers, after in ENTRY.findall(result[1] if result else ""):
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", between))
        shared = re.search(r"(\d+) bytes smem", after)
        rows.append({"compiler": result[0], "architecture": f"sm_{architecture}", "kernel": name,
                     "registers": int(registers), "spilled_bytes": spilled,
                     "static_shared_bytes": int(shared.group(1)) if shared else 0})
    return sorted(rows, key=lambda row: row["kernel"])


class Counting:
    """A device that holds tables and runs nothing."""

    xp = np

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
    for card in plan.CARDS:
        launches = engine.Engine(network, Counting(card.multiprocessors)).launches
        print(f"\n{card.name}\n| kernel | grid | threads | shared, B | read, kB | written, kB | MFLOP "
              "| us |\n|---|---|---|---|---|---|---|---|")
        for k in launches:
            print(f"| `{k.kernel}` | {k.grid[0]}x{k.grid[1]} | {k.threads} | {k.shared} "
                  f"| {k.reads / 1e3:.0f} | {k.writes / 1e3:.0f} | {k.flops / 1e6:.2f} "
                  f"| {plan.predict(k, card, 0.0):.1f} |")
        single, graph = (sum(plan.predict(k, card, between) for k in launches)
                         for between in (card.launch, plan.NODE))
        print(f"{len(launches)} launches, {single:.0f} us one by one, {graph:.0f} us as a graph")


def measure(network: Hierarchy, frames: int = 300) -> None:
    """Run the kernels on the GPU beside NumPy; print the difference and the time of a frame."""
    from pvm_perception.core.gpu.cuda import CudaRunner

    c = network.config
    fast = engine.Engine(network, CudaRunner())
    images = np.random.default_rng(0).integers(0, 256, (8, network.batch, c.height, c.width, 3), np.uint8)
    apart = max(float(np.abs(network.step(image) - fast.step(image)).max()) for image in images)
    times = []
    for k in range(frames):
        start = time.perf_counter()
        fast.step(images[k % len(images)])
        times.append(1e6 * (time.perf_counter() - start))
    print(f"\nlargest difference from NumPy {apart:.2g}; upload, frame and download "
          f"{np.median(times):.0f} us (median), {np.percentile(times, 99):.0f} us (p99)")


def main() -> None:
    """Write the compilers' table; print predictions; measure where there is a GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/kernels.csv"))
    args = parser.parse_args()
    rows = [row for architecture in ARCHITECTURES for row in usage(architecture)]
    if rows:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        write_csv(args.output, rows)
    else:
        print("no nvcc and no CuPy: nothing was compiled", file=sys.stderr)
    config, weights, _ = load_model(default_model())
    network = Hierarchy(config, args.batch, weights=weights)
    print_predictions(network)
    try:
        measure(network)
    except PvmError as error:
        print(f"\nnot measured: {error}")


if __name__ == "__main__":
    main()
