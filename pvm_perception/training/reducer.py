"""Ranks: processes that each train a copy of one network, and meet to average what they learnt.

One interface, three engines: a process alone, which has nobody to meet; processes under mpirun, on one
machine or many (mpi4py); the same with a GPU each (NCCL, by CuPy).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from pvm_perception.core.backend import array_module
from pvm_perception.errors import PvmError

Array = Any
LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK")  # set by mpirun and srun, one of them
POLL = 1e-4  # seconds between two looks for ranks that are late; MPI itself would spin on a core


class Reducer(Protocol):
    """What training asks of ranks. Every rank makes the same calls in the same order.

    `meanwhile` is called again and again while others are late, so that a signal is answered also when
    they never come. Nothing has changed yet then.

    Attributes
    ----------
    rank : this process, from 0
    size : number of ranks
    """

    rank: int
    size: int

    def gather(self, values: Sequence[float], meanwhile: Callable[[], None]) -> np.ndarray:
        """Wait for all ranks; return what each brought.

        Parameters
        ----------
        values
            n numbers of this rank.
        meanwhile
            Called again and again while it waits.

        Returns
        -------
        ndarray
            (size, n) float64.
        """

    def mean(self, arrays: Sequence[Array], meanwhile: Callable[[], None]) -> None:
        """Replace arrays by their mean over all ranks; the same bits on each of them.

        Parameters
        ----------
        arrays
            float32, of the same shapes on each rank; changed in place.
        meanwhile
            Called again and again while it waits.
        """

    def close(self) -> None:
        """Leave in good order. A process that ends without this makes mpirun end the others."""


class Alone:
    """A process that trains by itself."""

    rank, size = 0, 1

    def gather(self, values: Sequence[float], _meanwhile: Callable[[], None]) -> np.ndarray:
        """See `Reducer.gather`."""
        return np.array([values], np.float64)

    def mean(self, _arrays: Sequence[Array], _meanwhile: Callable[[], None]) -> None:
        """Leave the arrays as they are: the mean of one. See `Reducer.mean`."""

    def close(self) -> None:
        """Nobody waits."""


class MpiReducer:
    """Ranks under mpirun, arrays on the host.

    Parameters
    ----------
    mpi
        The module `mpi4py.MPI`.
    xp
        Array module; NumPy here.
    """

    def __init__(self, mpi: ModuleType, xp: ModuleType = np) -> None:
        self.mpi, self.xp, self.comm = mpi, xp, mpi.COMM_WORLD
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()

    def gather(self, values: Sequence[float], meanwhile: Callable[[], None]) -> np.ndarray:
        """See `Reducer.gather`."""
        mine = np.array(values, np.float64)
        found = np.empty((self.size, len(mine)))
        self._wait(self.comm.Iallgather(mine, found), meanwhile)
        return found

    def mean(self, arrays: Sequence[Array], meanwhile: Callable[[], None]) -> None:
        """See `Reducer.mean`."""
        total = self.xp.concatenate([a.ravel() for a in arrays])  # one message: dozens are latency
        self._sum(total, meanwhile)
        total /= np.float32(self.size)
        place = 0
        for a in arrays:
            a[...] = total[place : place + a.size].reshape(a.shape)
            place += a.size

    def _sum(self, total: Array, meanwhile: Callable[[], None]) -> None:
        """Replace a flat array by its sum over all ranks."""
        self._wait(self.comm.Iallreduce(self.mpi.IN_PLACE, total), meanwhile)

    @staticmethod
    def _wait(request: Any, meanwhile: Callable[[], None]) -> None:
        while not request.Test():
            meanwhile()
            time.sleep(POLL)

    def close(self) -> None:
        self.mpi.Finalize()


class NcclReducer(MpiReducer):
    """Ranks under mpirun with a GPU each: numbers go by MPI, arrays from GPU to GPU.

    Make it before any array: it picks the GPU. See `MpiReducer`.
    """

    def __init__(self, mpi: ModuleType, xp: ModuleType) -> None:
        super().__init__(mpi, xp)
        here = self.comm.Split_type(mpi.COMM_TYPE_SHARED)  # the ranks of this machine
        gpus = xp.cuda.runtime.getDeviceCount()
        if here.Get_size() > gpus:
            raise PvmError(
                f"{here.Get_size()} ranks on a machine with {gpus} GPUs: NCCL wants one "
                "for each; start fewer, or train with --device cpu"
            )
        xp.cuda.Device(here.Get_rank()).use()
        from cupyx.distributed import init_process_group

        self.group = init_process_group(self.size, self.rank, use_mpi=True)

    def _sum(self, total: Array, _meanwhile: Callable[[], None]) -> None:
        self.group.all_reduce(total, total)


def join(device: str, processes: int) -> Reducer:
    """Return this process's place among those that mpirun started; alone where it started none.

    Parameters
    ----------
    device
        Where the network runs, as for `array_module`.
    processes
        That each rank wants to keep busy. mpirun ties a rank to one core by default, and scenes would
        be rendered on the core that learns: where that is too few, the rank gets its launcher's.

    Raises
    ------
    PvmError
        mpirun started it, but mpi4py or its MPI is missing; more ranks than GPUs.
    """
    if not any(name in os.environ for name in LAUNCHED):
        return Alone()
    try:
        import mpi4py

        mpi4py.rc.finalize = False  # at exit it would wait for ranks that wait for this one
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter where no libmpi is found
        raise PvmError(
            "mpirun started this process, but mpi4py does not work "
            f"({str(error).splitlines()[0]}); pip install -r "
            "requirements/scale-out.txt"
        ) from error
    if len(os.sched_getaffinity(0)) < processes:
        os.sched_setaffinity(0, os.sched_getaffinity(os.getppid()))
    xp = array_module(device)
    return MpiReducer(MPI) if xp is np else NcclReducer(MPI, xp)
