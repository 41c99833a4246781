"""Model files as an attacker, a bad disk or a killed writer leaves them: run, or refused in one line.

`mutant(seed)` draws one file: a header with odd values, damaged bytes, or a network of another shape whose
weights fit (which is accepted, and then run and taught on the compiled kernels). `attack` makes many under
the address and undefined-behaviour sanitizers; `kill_while_saving` ends writers at any moment.
Usage: .venv/bin/python benchmarks/torture_models.py [--mutants N] [--kills N] [--seed N] [--plain]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
from safetensors.numpy import save
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.core import size
from pvm_perception.core.config import MOTION, Forecast, HierarchyConfig, Layer, Learning, Link, ReadoutConfig
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import cpu
from pvm_perception.core.model_file import FORMAT, load_model, save_model
from pvm_perception.core.work import multiply_adds
from pvm_perception.errors import PvmError

CPP = [Path(cpu.__file__).with_name(name) for name in ("cpu.cpp", "forecast.cpp")]
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O2")
AFFORDABLE = 1 << 22  # multiply-adds of a frame up to which an accepted mutant is run, not only loaded
SHIPPED_CALIBRATION = [2.26, 1.22]
ODD: tuple[Any, ...] = (
    0,
    1,
    2,
    3,
    7,
    16,
    255,
    1024,
    1025,
    -1,
    0.5,
    1.0,
    1e-3,
    1e9,
    1e308,
    2**31,
    2**63,
    10**400,
    float("nan"),
    float("inf"),
    True,
    False,
    None,
    "",
    "L1",
    "input",
    "motion",
    "readout",
    "x" * 5000,
    "a\nb",
    "\x1b[2J",
    [],
    [1],
    [1, 1],
    [0, 0],
    [2, 3],
    ["a", "b"],
    [0.5],
    [[]],
    {},
    {"a": 1},
    "box",
    "heatmap",
    "square",
)


def base(which: int) -> HierarchyConfig:
    """Return one of four small networks: as `robot` without and with foresight, tanh codes, as `paper`."""
    cheap = ("signal", "error")
    links = [
        Link("input", "L1", "feedforward", 1, shape="square"),
        Link("L1", "L1", "lateral", 1),
        Link("L1", "L2", "feedforward"),
        Link("L2", "L1", "feedback"),
        Link("L3", "L1", "global"),
        Link("L2", "L3", "feedforward"),
        Link(MOTION, "L1"),
    ]
    layers = (
        Layer("L1", 6, 8, 6, children=(1, 1), terms=cheap),
        Layer("L2", 3, 4, 9, terms=cheap),
        Layer("L3", 1, 1, 5, children=(3, 4), terms=("signal",)),
    )
    if which in (0, 3):
        readout = ReadoutConfig(radius=(0, 1), cells="L2", memory=1, mixing=7, hidden=10)
        return HierarchyConfig(
            "small",
            height=24,
            width=32,
            block=4,
            layers=layers,
            links=tuple(links),
            activation="leaky",
            normalise=True,
            readout=readout,
            forecast=Forecast(code=5 if which else 0, scales=2),
            learning=Learning("muon"),
        )
    if which == 1:
        return HierarchyConfig(
            "small",
            height=24,
            width=32,
            block=4,
            links=tuple(links),
            layers=tuple(dataclasses.replace(k, terms=Layer("x").terms) for k in layers),
        )
    return HierarchyConfig(
        "small",
        height=24,
        width=32,
        block=4,
        layers=layers,
        links=tuple(links),
        shared=False,
        activation="polynomial",
        output="activation",
        schedule="parallel",
        low=0.0,
        readout=ReadoutConfig("heatmap", hidden=8),
        learning=Learning("momentum"),
    )


def places(tree: Any, path: tuple = ()) -> list[tuple]:
    """Return the paths of all values in plain data."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(p for key, value in items for p in places(value, (*path, key)))]


def replaced(tree: Any, path: tuple, change: Any) -> Any:
    """Return plain data in which the value at a path went through `change`."""
    if not path:
        return change(tree)
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = replaced(copy[path[0]], path[1:], change)
    return copy


def bent(value: Any, draw: random.Random) -> Any:
    """Return another value: an odd one, or one a little away."""
    if isinstance(value, list) and value and draw.random() < 0.6:
        some = [draw.choice(value) for _ in range(draw.randint(0, len(value) + 1))]
        return draw.choice((value[::-1], value[:-1], [*value, draw.choice(value)], some, value * 40))
    if isinstance(value, dict) and value and draw.random() < 0.6:
        gone = draw.choice(list(value))
        return draw.choice(
            (
                {k: v for k, v in value.items() if k != gone},
                value | {"odd": 1},
                value | {gone: draw.choice(ODD)},
            )
        )
    if isinstance(value, (int, float)) and not isinstance(value, bool) and draw.random() < 0.5:
        return draw.choice((value + 1, value - 1, value * 2, value / 2, -value, value + 0.5, float(value)))
    return draw.choice(ODD)


def neighbour(config: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Return a configuration of another shape that may well be valid: what the kernels then have to run."""
    layers, links, readout = config["layers"], config["links"], config["readout"]
    names = [layer["name"] for layer in layers]
    for _ in range(draw.randint(1, 4)):
        kind = draw.randrange(9)
        layer, link = draw.choice(layers), draw.choice(links)
        if kind == 0:
            layer["rows"], layer["cols"] = draw.randint(1, 9), draw.randint(1, 12)
        elif kind == 1:
            layer["code"] = draw.choice((1, 2, 15, 16, 17, 33, 64))
        elif kind == 2:
            layer["children"] = [draw.randint(1, 6), draw.randint(1, 8)]
        elif kind == 3:
            link["radius"], link["shape"] = draw.choice((0, 1, 2, 5, 16)), draw.choice(("disk", "square"))
        elif kind == 4:
            link["gain"] = draw.choice((0.0, 0.5, 1.0, 8.0))
        elif kind == 5 and len(links) < 20:
            links.append(
                {
                    "source": draw.choice([*names, MOTION]),
                    "target": draw.choice(names),
                    "radius": draw.choice((0, 0, 1, 3)),
                    "kind": "context",
                }
            )
        elif kind == 6:
            config["block"] = draw.choice((1, 2, 4, 8))
        elif kind == 7:
            config["targets"] = [f"t{k}" for k in range(draw.randint(1, 12))]
        else:
            readout |= {
                "radius": [draw.choice((0, 1, 4, 16)) for _ in range(draw.randint(1, 3))],
                "cells": draw.choice(["", *names]),
                "memory": draw.choice((1, 1, 2, 8)),
                "hidden": draw.choice((1, 10, 40)),
                "mixing": draw.choice((1, 7, 33)),
            }
    return config


def fitting(config: HierarchyConfig, seed: int) -> dict[str, np.ndarray]:
    """Return weights of a configuration's shapes, within 1 around 0."""
    rng = np.random.default_rng(seed)
    return {name: rng.random(shape, np.float32) * 2 - 1 for name, shape in size.weight_shapes(config).items()}


def packed(header: Any, body: bytes) -> bytes:
    """Return a safetensors file, whatever its header says."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def unpacked(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return a good file's header and body."""
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:end]), data[end:]


def mutant(seed: int) -> bytes:
    """Return the file of a seed."""
    draw = random.Random(seed)
    config = base(draw.randrange(4))
    history = {
        "steps": 40,
        "frames": 640,
        "clips": 7,
        "seconds": 12.5,
        "calibration": SHIPPED_CALIBRATION,
        "validation": {"prediction_over_copy": 0.9, "auc": 0.5},
        "taught": [{"from": "a", "data": ["b"], "learnt": 3, "minutes": 1.5}],
    }
    kind = draw.randrange(10)
    if kind < 4:  # another network, whole and consistent, if there is one
        with contextlib.suppress(PvmError):
            another = HierarchyConfig.from_dict(neighbour(json.loads(json.dumps(config.to_dict())), draw))
            if sum(map(np.prod, size.weight_shapes(another).values())) < AFFORDABLE:
                config = another
    header, body = unpacked(
        save(
            fitting(config, seed),
            {"format": FORMAT, "config": json.dumps(config.to_dict()), "history": json.dumps(history)},
        )
    )
    scale = draw.choice((0.1, 0.1, 0.1, 0.0, 1.0, 30.0, 9e3, 1e20, 3e38, 1e-42))
    body = (np.frombuffer(body, np.float32) * np.float32(scale)).tobytes()
    if kind < 4:
        return packed(header, body)
    metadata = header["__metadata__"]
    if kind in (4, 5, 6):  # odd values in the configuration or the history
        part = "history" if kind == 6 and draw.random() < 0.6 else "config"
        tree = json.loads(metadata[part])
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            tree = replaced(tree, draw.choice(places(tree)), lambda value: bent(value, draw))
        metadata[part] = json.dumps(tree)
        if draw.random() < 0.1:
            metadata[part] = draw.choice(("", "9" * 5000, "[" * 5000, "null", "\x00", metadata[part][:-5]))
    elif kind == 7:  # tensors
        for _ in range(draw.choice((1, 1, 3))):
            header = replaced(header, draw.choice(places(header)[1:]), lambda value: bent(value, draw))
    data = packed(header, body)
    if kind == 8:  # bytes
        damaged = bytearray(data)
        for _ in range(draw.choice((1, 3, 100))):
            where = draw.randrange(8 if draw.random() < 0.2 else len(damaged))
            damaged[where] = draw.choice((draw.randrange(256), damaged[where] ^ (1 << draw.randrange(8))))
        data = bytes(damaged)
    elif kind == 9:  # cut, repeated, another format, too long a header
        cut = draw.randrange(len(data) + 1)
        data = draw.choice(
            (
                data[:cut],
                data + data,
                data[:cut] + os.urandom(64),
                data[cut:],
                struct.pack("<Q", draw.choice((0, 1, 2**63, 2**64 - 1, len(data)))) + data[8:],
                data.replace(FORMAT.encode(), b"pvm_perception/9"),
                data[:8],
                bytes(len(data)),
            )
        )
    return data


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
            with tempfile.TemporaryFile("w+") as said:
                command = [sys.executable, __file__, "--worker", str(at), str(end - at), *extra]
                worker = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=said, text=True)
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
                    said.seek(0)
                    lines = [line.strip() for line in said if "ERROR" in line or "runtime error" in line]
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
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="without sanitizers")
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
