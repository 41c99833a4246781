"""Model files as an attacker, a bad disk or a killed writer leaves them: run, or refused in one line.

`mutant(seed)` draws one file: a header with odd values, damaged bytes, or a network of another shape whose
weights fit (which is accepted, and then run and taught on the compiled kernels). `attack` makes many under
the address and undefined-behaviour sanitizers; `kill_while_saving` ends writers at any moment.
Usage: .venv/bin/python benchmarks/torture_models.py [--mutants N] [--kills N] [--seed N] [--plain]
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
from mutants import AFFORDABLE, base, mutant
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.core import size
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import cpu
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.core.work import multiply_adds
from pvm_perception.errors import PvmError

CPP = sorted(Path(cpu.__file__).parent.glob("*.cpp"))
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O2")


def verdict(path: Path) -> str:
    """Load a model file and, if it is accepted, run it and let it learn: "refused", "ran" or "loaded".

    Raises
    ------
    AssertionError
        Where it is refused in more than one line, or something it says is not finite.
    Exception
        Any but PvmError is a fault, too.
    """
    try:
        config = load_model(path)[0]
        if cost(config) > AFFORDABLE:
            return "loaded"
        images = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
        for learn in (False, True):
            tracker = Tracker(config.targets, path, learn=learn)
            for k, image in enumerate(images):
                for track in tracker.update(image, k / 30, (0.01, 0, 0, 0)):
                    found = (track.x, track.y, track.w, track.h, track.score)
                    assert np.isfinite(found).all(), f"a box is not finite: {found}"
            tracker.prediction(), tracker.surprise(), tracker.heatmap(config.targets[0])
        if config.readout.kind == "box":  # labelled learning writes through the tables, too
            network = Hierarchy(config, 1, np, load_model(path)[1])
            for _ in range(2):
                network.step(np.zeros((1, config.height, config.width, 3), np.uint8))
                network.learn(np.float32([[[0, 8, 6, 10, 9, 1, 1]]]), 0.01)
    except PvmError as error:
        assert "\n" not in str(error), "a message of more than one line"
        assert len(str(error)) < 600, "a message of more than 600 characters"
        return "refused"
    return "ran"


def cost(config: HierarchyConfig) -> int:
    """Return the multiply-adds of a frame."""
    network = [multiply_adds(e) for e in Hierarchy(config, 0, learns=False).encoders]
    return sum(network) + sum(map(np.prod, size.weight_shapes(config).values()))


def sanitized(folder: Path) -> Path:
    """Compile the CPU kernels of this machine with sanitizers into a folder, and return it."""
    library = str(folder / "_cpu_any.sanitized.so")
    subprocess.run(
        [
            "g++",
            "-std=gnu++17",
            "-shared",
            "-fPIC",
            "-march=native",
            *SANITIZE,
            *map(str, CPP),
            "-o",
            library,
        ],
        check=True,
    )
    return folder


def work(first: int, count: int, kernels: Path | None) -> None:
    """Try mutants in this process; print the verdict of each."""
    if kernels is not None:
        found = cpu.compiled(kernels)
        cpu.compiled = lambda: found
    np.seterr(all="ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.safetensors"
        for seed in range(first, first + count):
            begin = time.monotonic()
            try:
                path.write_bytes(mutant(seed))
                says = verdict(path)
            except Exception as error:
                says = f"FAULT {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            print(seed, f"{time.monotonic() - begin:.2f}", peak, says, flush=True)


def attack(count: int, seed: int = 0, sanitize: bool = True) -> dict[str, Any]:
    """Try `count` mutants in a process of its own, which is started again where one ends it.

    Returns
    -------
    dict
        A row of counts by verdict, the slowest mutant (seconds), the process's largest memory (MB), and
        "faults": what went wrong, by seed.
    """
    row: dict[str, Any] = {"mutants": 0, "refused": 0, "loaded": 0, "ran": 0, "slowest_s": 0.0, "peak_mb": 0}
    faults: dict[int, str] = {}
    with tempfile.TemporaryDirectory() as name, tqdm(total=count, unit="model", disable=None) as bar:
        env, extra = dict(os.environ), []
        if sanitize:
            extra = ["--kernels", str(sanitized(Path(name)))]
            asan = subprocess.run(
                ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
            ).stdout.strip()
            env |= {
                "LD_PRELOAD": asan,
                "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=32",
            }
        at, end = seed, seed + count
        while at < end:
            with tempfile.TemporaryFile("w+") as errors:
                command = [sys.executable, __file__, "--worker", str(at), str(end - at), *extra]
                worker = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=errors, text=True)
                for line in worker.stdout:
                    which, seconds, peak, says = line.rstrip("\n").split(" ", 3)
                    at = int(which) + 1
                    row["mutants"] += 1
                    row["slowest_s"] = max(row["slowest_s"], float(seconds))
                    row["peak_mb"] = max(row["peak_mb"], int(peak))
                    if says in row:
                        row[says] += 1
                    else:
                        faults[int(which)] = says
                    bar.update()
                if worker.wait() or at < end:
                    errors.seek(0)
                    lines = [line.strip() for line in errors if "ERROR" in line or "runtime error" in line]
                    faults[at] = f"FAULT exit {worker.returncode}: {lines[0] if lines else 'silent'}"
                    row["mutants"] += 1
                    at += 1
    return row | {"faults": faults}


def kill_while_saving(times: int, seed: int = 0) -> dict[str, Any]:
    """End writers of one model file with SIGKILL at moments that are drawn; load what is there each time.

    Returns
    -------
    dict
        "kills", "half" (files that could not be loaded or mix two writers' weights), "left" (temporary files
        after one more save).
    """
    small, half, draw = base(0), 0, random.Random(seed)
    config = dataclasses.replace(small, readout=dataclasses.replace(small.readout, hidden=1000, mixing=1000))
    shapes = size.weight_shapes(config)
    models = [{name: np.full(shape, k, np.float32) for name, shape in shapes.items()} for k in range(9)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        save_model(path, config, models[0])
        for _ in tqdm(range(times), unit="kill", disable=None):
            writer = os.fork()
            if writer == 0:
                try:
                    while True:
                        save_model(path, config, draw.choice(models))
                finally:
                    os._exit(1)
            draw.random()
            time.sleep(draw.uniform(0.002, 0.06))
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
            try:
                half += len({w.flat[0] for w in load_model(path)[1].values()}) != 1
            except PvmError:
                half += 1
        save_model(path, config, models[0])
        left = len(list(Path(folder).iterdir())) - 1
    return {"kills": times, "half": half, "left": left}


def main() -> int:
    """Attack, kill, print both rows; exit code 1 where anything is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--mutants", type=int, default=20_000, help="damaged models to load (default: %(default)s)"
    )
    parser.add_argument(
        "--kills",
        type=int,
        default=300,
        help="how often a process is killed while it saves (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="number that fixes the damage (default: %(default)s)"
    )
    parser.add_argument("--plain", action="store_true", help="build the kernels without sanitizers")
    parser.add_argument("--worker", type=int, nargs=2, metavar=("FIRST", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--kernels", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(*args.worker, args.kernels)
        return 0
    row = attack(args.mutants, args.seed, not args.plain)
    faults = row.pop("faults")
    killed = kill_while_saving(args.kills, args.seed)
    print(" ".join(f"{name}={value}" for name, value in (row | killed).items()))
    for seed, what in list(faults.items())[:20]:
        print(f"seed {seed}: {what}")
    return bool(faults or killed["half"] or killed["left"])


if __name__ == "__main__":
    sys.exit(main())
