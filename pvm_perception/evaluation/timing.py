"""The time of one step, the work and the traffic in it, and how near both come to the machine's peaks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pvm_perception.core import work
from pvm_perception.core.encoder import Encoder
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.interfaces import Readout
from pvm_perception.evaluation.machine import Machine, Row


@dataclass(frozen=True)
class Load:
    """What one frame of a network asks of a machine."""

    weights: int
    flop: float
    traffic: float  # bytes
    products: tuple[tuple[int, int, int], ...]  # rows, D, N of each matrix product

    @staticmethod
    def of(network: Hierarchy, learn: bool, looks: float = 1.0) -> Load:
        """Count for one stream's frame; weights are shared by the streams of a step.

        Parameters
        ----------
        network
            The network; where it learns it has learnt once already.
        learn
            Whether each frame is learnt from.
        looks
            How often the network looks at a frame, on average.
        """
        encoders, b = network.encoders, network.batch
        parts: list[Encoder | Readout] = [*encoders, network.readout]
        weights = sum(int(w.size) for w in network.weights.values())
        products = [shape for part in parts for shape in part.products]
        adds = looks * sum(map(math.prod, products))
        values = looks * (weights / b + 2 * sum(work.values(e) for e in encoders))
        if learn:
            assert network.optimizer is not None  # it has learned before it is measured
            taught = sum(
                int(w.size) for name, w in network.weights.items() if not name.startswith("readout.")
            )
            state = sum(int(s.size) for s in network.optimizer.state.values())
            adds += sum(work.learning_multiply_adds(e) for e in encoders)
            values += sum(work.values(e) for e in encoders) + (4 * taught + 2 * state) / b
        return Load(weights, 2.0 * adds, 4.0 * values, tuple((b * rows, d, n) for rows, d, n in products))


def _peaks(machine: Machine, load: Load) -> tuple[float, float, float]:
    """Return what a machine can do at best.

    FLOP/s of the largest product, and of all one after the other, by themselves; bytes a second of a copy.
    """
    adds = [math.prod(shape) for shape in load.products]
    rates = [machine.flops(shape) for shape in load.products]
    mixed = sum(adds) / sum(a / r for a, r in zip(adds, rates, strict=True))
    return rates[adds.index(max(adds))], mixed, machine.bytes_per_second()


def timed_row(
    machine: Machine, step: Callable[[int], object], frames: int, load: Load | None, batch: int = 1
) -> Row:
    """Time steps and compare them with the machine's peaks.

    On the CPU, `ms_busy` is the processor's own time, which other work on the machine hardly lengthens; what
    is done a second is of that time.

    Parameters
    ----------
    machine
        What the steps run on, and its peaks.
    step
        Takes the step's number; returns when the answer is on the host, or the seconds that it took.
    frames
        How many steps are timed, after three that are not.
    load
        The work of one stream's frame; None where it is not known: then there are no shares of peaks.
    batch
        Frames in a step.

    Returns
    -------
    Row
        Times in ms for each frame, with the unit in each name.
    """
    for k in range(3):
        step(k)
    peaks = [_peaks(machine, load)] if load else []
    seconds, worked = [], []
    for k in range(frames):
        begin, begin_work = time.perf_counter(), machine.clock()
        measured = step(k)
        seconds.append(measured if isinstance(measured, float) else time.perf_counter() - begin)
        worked.append(machine.clock() - begin_work)
    median = float(np.median(seconds)) / batch
    row = {
        "batch": batch,
        "frames": frames * batch,
        "ms_median": 1e3 * median,
        "ms_p99": 1e3 * float(np.percentile(seconds, 99)) / batch,
        "frames_per_second": 1 / median,
    }
    if load:
        peaks.append(_peaks(machine, load))
        flops, mixed, traffic = (max(p) for p in zip(*peaks, strict=True))
        busy = float(np.median(worked)) / batch
        row |= {
            "ms_busy": 1e3 * busy,
            "weights": load.weights,
            "weights_per_second": load.weights / busy,
            "gflop_per_frame": load.flop / 1e9,
            "gflops": load.flop / busy / 1e9,
            "gflops_peak": flops / 1e9,
            "flop_over_peak": load.flop / busy / flops,
            "gflops_products": mixed / 1e9,
            "flop_over_products": load.flop / busy / mixed,
            "gbytes_per_second": load.traffic / busy / 1e9,
            "gbytes_per_second_peak": traffic / 1e9,
            "bytes_over_peak": load.traffic / busy / traffic,
        }
    return row
