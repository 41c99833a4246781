"""The engine's device on a real GPU, through CuPy: one module, one stream, a CUDA graph for each engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pvm_perception.core.backend import array_module
from pvm_perception.core.kernels.plan import Launch, source_code


class CudaRunner:
    """Brings frames to the current GPU, runs the launches there as one graph, brings answers back.

    All of it on a stream of its own, in order, from and to pinned memory: the host goes on at once
    and waits only where it reads.

    Raises
    ------
    PvmError
        If there is no CuPy or no GPU.
    """

    name = "cuda kernels"
    shares = False
    packing = None

    def __init__(self) -> None:
        self.xp = cupy = array_module("cuda")
        self.multiprocessors = cupy.cuda.Device().attributes["MultiProcessorCount"]
        self._module = cupy.RawModule(code=source_code(), options=("--std=c++17",))
        self._stream = cupy.cuda.Stream(non_blocking=True)

    def host(self, size: int) -> np.ndarray:
        """Return pinned memory (size,) uint8, zeros."""
        import cupyx

        return cupyx.zeros_pinned(size, np.uint8)

    def put(self, array: np.ndarray) -> Any:
        """Return a copy of a host array in the device's memory."""
        copy = self.xp.asarray(array)
        self.xp.cuda.get_current_stream().synchronize()  # the engine's stream does not wait for it
        return copy

    def address(self, array: Any) -> int:
        """Return where a device array lies."""
        return array.data.ptr

    def write(self, array: Any, values: np.ndarray) -> None:
        """See `Runner.write`."""
        array.set(values, stream=self._stream)

    def read(self, array: Any, out: np.ndarray | None = None) -> np.ndarray:
        """See `Runner.read`."""
        return array.get(stream=self._stream, out=out)

    def squared_difference(self, a: np.ndarray, b: np.ndarray) -> float:
        """See `Runner.squared_difference`."""
        change = np.subtract(a, b, dtype=np.float32)
        return float(change @ change)

    def load(self, launches: list[tuple[Launch, tuple[int, int]]]) -> Callable[[], None]:
        """Compile and load the kernels, run each twice, and return what runs them all as one graph."""
        ready = [
            (self._module.get_function(launch.kernel), launch, tuple(map(np.uint64, addresses)))
            for launch, addresses in launches
        ]

        def run() -> None:
            for kernel, launch, addresses in ready:
                kernel(launch.grid, (launch.threads,), addresses, shared_mem=launch.shared)

        with self._stream:
            run()  # loads them: nothing may be loaded while a graph is captured
            self._stream.begin_capture()
            run()
            graph = self._stream.end_capture()
            graph.launch(self._stream)
        self._stream.synchronize()  # what does not run shows here, not at the first frame
        return lambda: graph.launch(self._stream)
