"""The engine's device on a real GPU, through CuPy: one module, one stream, one CUDA graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from pvm_perception.core.backend import array_module
from pvm_perception.core.gpu.engine import source_code
from pvm_perception.core.gpu.plan import Launch


class CudaRunner:
    """Runs the launches on the current GPU, from the second frame on as one graph.

    Raises
    ------
    PvmError
        If there is no CuPy or no GPU.
    """

    def __init__(self) -> None:
        self._cupy = cupy = array_module("cuda")
        self.multiprocessors = cupy.cuda.Device().attributes["MultiProcessorCount"]
        self._module = cupy.RawModule(code=source_code(), options=("--std=c++17",))
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._graph: Any = None
        self._loaded = False

    def put(self, array: np.ndarray) -> Any:
        """Return a copy of a host array in the device's memory."""
        copy = self._cupy.asarray(array)
        self._cupy.cuda.get_current_stream().synchronize()  # the engine's stream does not wait for it
        return copy

    def address(self, array: Any) -> int:
        """Return where a device array lies."""
        return array.data.ptr

    def write(self, array: Any, values: np.ndarray) -> None:
        """Copy host values over a device array."""
        array.set(values, stream=self._stream)

    def read(self, array: Any) -> np.ndarray:
        """Return a copy of a device array on the host, when all launches are done."""
        values = array.get(stream=self._stream)
        self._stream.synchronize()
        return values

    def run(self, launches: list[tuple[Launch, tuple[int, int]]]) -> None:
        """Run kernels in order; the first time one by one, which loads them, then as a graph."""
        with self._stream:
            if self._loaded and self._graph is None:
                self._stream.begin_capture()
                self._launch(launches)
                self._graph = self._stream.end_capture()
            if self._graph is None:
                self._launch(launches)
                self._loaded = True
            else:
                self._graph.launch(self._stream)

    def _launch(self, launches: list[tuple[Launch, tuple[int, int]]]) -> None:
        for launch, addresses in launches:
            kernel = self._module.get_function(launch.kernel)
            kernel(launch.grid, (launch.threads,), tuple(map(np.uint64, addresses)),
                   shared_mem=launch.shared)
