"""How fast it is here, and how near to what this machine can do: time, work, traffic, memory.

Parts, each a list of rows: `tracker` (image array to boxes), `network` (steps of the hierarchy
alone, streams side by side), `input` and `code` (the same at other sizes), `peers` (what one would
pick instead). The machine's peaks are measured with each row, because other work on it moves them.

Work counts the multiply-adds of matrix products. Traffic is a floor: every weight once, and what
units receive, their codes and forecasts written and read once; learning adds gradients, weights and
the optimizer's state. Shares of a peak compare these with the time that the device was at work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np

from pvm_perception.api import Tracker
from pvm_perception.core.backend import OneThread, array_module, device_name, to_numpy
from pvm_perception.core.config import HierarchyConfig, preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.interfaces import Network
from pvm_perception.core.meanwhile import cores
from pvm_perception.core.model_file import load_model, read_header, save_model
from pvm_perception.core.placement import on_kernels
from pvm_perception.evaluation.machine import CAMERA, Machine, Row, allocations, cold_start, on_cores
from pvm_perception.evaluation.peers import PEERS, Follower
from pvm_perception.evaluation.timing import Load, timed_row
from pvm_perception.shipped import default_model
from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.types import Frame

COMPARED = ("HSV + Kalman", "KCF", "CSRT", "NanoDet", "CenterNet")
COLUMNS = (
    "part",
    "what",
    "device",
    "machine",
    "runs_on",
    "cores",
    "batch",
    "learn",
    "looks",
    "input",
    "frames",
    "ms_median",
    "ms_p99",
    "ms_busy",
    "frames_per_second",
    "ratio",
    "weights",
    "weights_per_second",
    "gflop_per_frame",
    "gflops",
    "gflops_peak",
    "flop_over_peak",
    "gflops_products",
    "flop_over_products",
    "gbytes_per_second",
    "gbytes_per_second_peak",
    "bytes_over_peak",
    "cold_start_s",
    "peak_mb",
    "temporary_kb",
    "retained_kb",
)


@dataclass(frozen=True)
class BenchOptions:
    """What to measure.

    Attributes
    ----------
    presets, devices, batches, learn : each with each
    frames : timed for each row, after a few to warm up
    starts : fresh processes for the cold start, of which the median counts
    sizes : factors on the input's sides; own weights stop at 2, where they are 90 million
    codes : factors on the codes' widths
    """

    presets: tuple[str, ...] = ("robot", "paper")
    devices: tuple[str, ...] = ("cpu",)
    batches: tuple[int, ...] = (1, 4)
    learn: tuple[bool, ...] = (False, True)
    frames: int = 300
    starts: int = 3
    sizes: tuple[int, ...] = (1, 2, 3)
    codes: tuple[float, ...] = (0.5, 1, 2)


def grown(config: HierarchyConfig, size: int = 1, code: float = 1) -> HierarchyConfig:
    """Return a network with larger grids or wider codes.

    The top stays one unit: it receives more children.

    Parameters
    ----------
    config
        Of the network as it is.
    size
        Factor of the sides of all grids and of the input.
    code
        Factor of the width of all codes.
    """
    *layers, top = (dataclasses.replace(layer, code=round(layer.code * code)) for layer in config.layers)
    layers = [dataclasses.replace(x, rows=x.rows * size, cols=x.cols * size) for x in layers]
    down, right = top.children
    top = dataclasses.replace(top, children=(down * size, right * size))
    return dataclasses.replace(
        config, height=config.height * size, width=config.width * size, layers=(*layers, top)
    )


class Bench:
    """All measurements of some options; `jobs` lists them, each to be called for its row.

    Parameters
    ----------
    options
        What to measure.
    folder
        For model files of presets that ship none: their weights are drawn.
    """

    def __init__(self, options: BenchOptions, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.machines = {d: Machine(array_module(d)) for d in options.devices}
        self.models = {name: self._model(name) for name in options.presets}
        self.images = [f.image for f in SimulatedStream(0, CAMERA, frames=min(options.frames, 60))]

    def _model(self, name: str) -> Path:
        if read_header(default_model())["config"].name == name:
            return default_model()
        path, config = self.folder / f"{name}.safetensors", preset(name)
        save_model(path, config, Hierarchy(config).weights)
        return path

    def jobs(self) -> Iterator[tuple[str, str, Callable[[], Row]]]:
        """Yield part, what, and the measurement of the row: on one core, what may use more on two, too."""
        for part, what, most, measure in self._jobs():
            for count in range(1, min(most, cores()) + 1):
                yield part, what, partial(self._on_cores, count, measure)

    @staticmethod
    def _on_cores(count: int, measure: Callable[[], Row]) -> Row:
        with on_cores(count):
            return {"cores": count} | measure()

    def _jobs(self) -> Iterator[tuple[str, str, int, Callable[[], Row]]]:
        """Yield part, what, the most cores that it is measured on, and the measurement."""
        o = self.options
        for device in o.devices:
            for name in o.presets:
                box = read_header(self.models[name])["config"].readout.kind == "box"
                for learn in o.learn:
                    for fovea in (True, False) if box else (False,):
                        yield (
                            "tracker",
                            name,
                            2 if fovea and not learn else 1,
                            partial(self.tracker, name, device, learn, fovea),
                        )
        for device in o.devices:
            for name in o.presets:
                for learn in o.learn:
                    for batch in o.batches:
                        yield (
                            "network",
                            name,
                            1,
                            partial(self.network, name, device, batch, learn),
                        )
        device = o.devices[0]
        for name in o.presets:
            own = not read_header(self.models[name])["config"].shared
            for size in o.sizes:
                if size <= 2 or not own:
                    yield (
                        f"input {name}",
                        f"x{size}",
                        1,
                        partial(self.network, name, device, 1, False, size=size),
                    )
            for code in o.codes:
                yield (
                    f"code {name}",
                    f"x{code:g}",
                    1,
                    partial(self.network, name, device, 1, False, code=code),
                )
        for device in o.devices:
            yield "peers", "pvm_perception", 2, partial(self.ours, device)
        for name in COMPARED:
            if PEERS[name].installed:
                yield "peers", name, 2, partial(self.peer, name)

    def tracker(self, name: str, device: str, learn: bool, fovea: bool) -> Row:
        """Measure the whole way from image array to boxes, and what a process of it costs.

        Parameters
        ----------
        name
            Of one of `models`.
        device
            One of `machines`.
        learn
            Whether the forecast learns from each frame.
        fovea
            Whether each frame is looked at a second time, through a window.
        """
        o, path = self.options, self.models[name]
        tracker = Tracker(model=path, device=device, learn=learn, fovea=fovea)

        def step(k: int) -> None:
            tracker.update(self.images[k % len(self.images)])

        for k in range(len(self.images)):
            step(k)
        looks = tracker.network_steps / len(self.images)
        load = Load.of(self._built(path, device), False, looks)  # without the gradients of the forecast
        few = min(o.frames, 60)
        return (
            self._where(device, tracker)
            | {"learn": int(learn), "looks": looks, "input": _input(tracker.config)}
            | timed_row(self.machines[device], step, o.frames, load)
            | allocations(step, few)
            | cold_start(path, device, learn, fovea, o.starts, few)
        )

    def _built(self, path: Path, device: str) -> Hierarchy:
        """Return a network for its counts."""
        config, weights, _ = load_model(path)
        return Hierarchy(config, 1, self.machines[device].xp, weights)

    def network(self, name: str, device: str, batch: int, learn: bool, size: int = 1, code: float = 1) -> Row:
        """Measure steps of the hierarchy alone, weights drawn anew.

        Parameters
        ----------
        name
            Of one of `models`, whose configuration is taken.
        device
            One of `machines`.
        batch
            Streams side by side.
        learn
            Whether each step learns; else whatever computes steps fastest is measured.
        size, code
            As for `grown`.
        """
        machine = self.machines[device]
        config = grown(read_header(self.models[name])["config"], size, code)
        network = Hierarchy(config, batch, machine.xp, learns=learn)
        runs = network if learn else _fastest(network, machine.xp)
        images = np.random.default_rng(0).integers(
            0, 256, (4, batch, config.height, config.width, 3), np.uint8
        )

        def step(k: int) -> None:
            out = runs.step(images[k % len(images)])
            if out is not None:  # an engine's lie on the device; boxes are with the host already
                to_numpy(out)
            if learn:
                network.learn(rate=0.0)  # drawn weights and noise are nothing to learn from
                machine.wait()

        with OneThread():
            step(0)
            row = timed_row(
                machine, step, max(self.options.frames // batch, 8), Load.of(network, learn), batch
            )
        return self._where(device, runs) | {"learn": int(learn), "looks": 1, "input": _input(config)} | row

    def _where(self, device: str, what: Tracker | Network) -> Row:
        return {"device": device, "machine": device_name(self.machines[device].xp), "runs_on": what.runs_on}

    @cached_property
    def _ball(self) -> list[Frame]:
        """Frames with a ball in view, there and back again, so that it never jumps."""
        run: list[Frame] = []
        for frame in SimulatedStream(0, CAMERA):
            seen = any(b.target == "green_ball" for b in frame.boxes or ())
            if seen:
                run.append(frame)
            if len(run) >= 60 or (not seen and len(run) >= 20):
                break
            run = run if seen else []
        return run + run[-2:0:-1]

    def ours(self, device: str) -> Row:
        """Measure the tracker on the frames that peers are shown."""
        frames, tracker = self._ball, Tracker(device=device)
        row = timed_row(
            self.machines[device],
            lambda k: tracker.update(frames[k % len(frames)].image),
            self.options.frames,
            None,
        )
        return self._where(device, tracker) | row

    def peer(self, name: str) -> Row:
        """Measure a peer, which follows one ball, or finds both targets in one pass."""
        frames, peer = self._ball, PEERS[name]
        method = peer.make(("green_ball", "stop_sign") if peer.one_pass else "green_ball")
        if peer.given:
            box = next(b for b in frames[0].boxes or () if b.target == "green_ball")
            cast(Follower, method).init(frames[0].image, (box.x, box.y, box.w, box.h))

        def step(k: int) -> float | None:
            method.update(frames[k % len(frames)].image)
            own = getattr(method, "milliseconds", None)  # without the way to its process
            return None if own is None else own / 1e3

        row = timed_row(self.machines[self.options.devices[0]], step, self.options.frames, None)
        return {"device": "cpu", "machine": device_name(np)} | row


def _fastest(network: Hierarchy, xp: ModuleType) -> Network:
    """Return what runs a network without learning: the kernels of the device of `xp` if they know it."""
    try:
        host = network if xp is np else Hierarchy(network.config, network.batch, learns=False)
        return on_kernels(host, xp)
    except Exception:  # a GPU's compiler, driver and runtime raise types of their own; `runs_on` says it
        return network


def _input(config: HierarchyConfig) -> str:
    return f"{config.width}x{config.height}"


def with_ratios(rows: list[Row]) -> list[Row]:
    """Return the rows in the order of `COLUMNS`; `ratio` is the time over that of the part's first.

    The time is `ms_busy`, among peers `ms_median`.
    """
    first: dict[str, float] = {}
    ordered = []
    for row in rows:
        took = row["ms_busy"] if "ms_busy" in row else row["ms_median"]
        ordered.append(
            {c: row.get(c, "") for c in COLUMNS} | {"ratio": took / first.setdefault(row["part"], took)}
        )
    return ordered
