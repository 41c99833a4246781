"""The CUDA kernels compiled for the host, as a device of the engine; and both networks side by side."""

import ctypes
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np

from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels.engine import Engine

HEADER = Path(__file__).with_name("host_kernels.h")
KERNELS = files("pvm_perception.core.kernels").joinpath("kernels.cu")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g")


def build(folder, *options):
    """Compile the kernels for the host; return the library's path."""
    library = Path(folder) / "kernels.so"
    subprocess.run(
        [
            "g++",
            "-std=c++17",
            "-O2",
            "-shared",
            "-fPIC",
            "-Wall",
            "-Werror",
            *options,
            "-include",
            str(HEADER),
            "-x",
            "c++",
            str(KERNELS),
            "-o",
            str(library),
        ],
        check=True,
    )
    return library


class HostRunner:
    """Runs the engine's launches on the host."""

    name = "cuda kernels"

    shares = False
    packing = None

    def __init__(self, library, multiprocessors, xp=np):
        self.library, self.multiprocessors, self.xp = ctypes.CDLL(str(library)), multiprocessors, xp

    def host(self, size):
        return np.zeros(size, np.uint8)

    def put(self, array):
        return array.copy()

    def address(self, array):
        return array.ctypes.data

    def write(self, array, values):
        array[...] = values

    def read(self, array, out=None):
        if out is None:
            return array.copy()
        out[...] = array
        return out

    def squared_difference(self, a, b):
        change = np.subtract(a, b, dtype=np.float32)
        return float(change @ change)

    def load(self, launches):
        def run():
            for launch, tables in launches:
                failed = getattr(self.library, launch.kernel)(
                    *launch.grid, launch.threads, launch.shared, *map(ctypes.c_void_p, tables)
                )
                assert not failed, f"{launch} is beyond its bounds"

        run()  # a GPU does, too: what it leaves behind must not count
        return run


def run_beside(network, engine, frames=4, seed=0):
    """Run both on the same noise, with motion, resetting one stream on the way; yield each frame."""
    rng, c = np.random.default_rng(seed), network.config
    for k in range(frames):
        if k == 2:
            streams = np.arange(network.batch) == network.batch - 1
            network.reset(streams), engine.reset(streams)
        images = rng.integers(0, 256, (network.batch, c.height, c.width, 3), np.uint8)
        motion = rng.normal(0, 0.05, (network.batch, 4)).astype(np.float32) if k else None
        engine.step(images, motion)
        yield network.step(images, motion), engine.answers()


def compare(network, engine, frames=4):
    """Demand that codes, predictions, errors and answers agree, frame after frame.

    Sums in another order differ by rounding, which recurrence carries on; integers are coarser, and noise
    as an image is harder for them than any real one.
    """
    pairs = engine.runner.packing is not None and engine.runner.packing.pairs
    code_close, answer_close = (1e-2, 1e-2) if pairs else (2e-4, 5e-4)
    for out, answers in run_beside(network, engine, frames):
        for i, encoder in enumerate(network.encoders):
            for ours, theirs in (
                (engine.codes(encoder.layer.name), encoder.h),
                (engine.prediction(i), encoder.prediction),
                (engine.error(i), encoder.error),
            ):
                np.testing.assert_allclose(ours, theirs, atol=code_close)
                assert np.sqrt(np.mean((ours - theirs) ** 2)) < 1e-3
        np.testing.assert_allclose(answers, out, atol=answer_close)
        boxes = network.readout.decode(answers, 0.001, 8)
        assert sum(len(rows) for stream in boxes for rows in stream)
        for ours, theirs in zip(engine.candidates(0.001), boxes, strict=True):
            for mine, yours in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(mine, yours, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(engine.known, network.known)
        np.testing.assert_allclose(engine.surprise(), network.surprise(), atol=2e-4)
        np.testing.assert_allclose(engine.forecast_errors(), network.forecast_errors(), rtol=1e-3)
        apart = engine.predicted_images().astype(int) - network.predicted_images()
        assert np.abs(apart).max() <= 1


def main():
    """Compare in a process of its own, where a sanitizer is loaded first; argument: the library."""
    from test_kernels import small

    for multiprocessors in (2, 64):
        network = Hierarchy(small(), 2, seed=3)
        compare(network, Engine(network, HostRunner(sys.argv[1], multiprocessors)), 3)
    print("compared")


if __name__ == "__main__":
    main()
