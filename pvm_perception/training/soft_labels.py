"""Soft labels: for some targets another model's answers are what the network learns, not the truth.

A network that learns anew from other scenes forgets what those show seldom. The answers of the model before,
to the same frames, keep it (Li & Hoiem 2016, "Learning without Forgetting").
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import numpy as np

from pvm_perception.core.backend import Floats, Images, Mask
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model
from pvm_perception.core.size import BOX_ANSWERS
from pvm_perception.errors import PvmError


class SoftLabels:
    """What models that do not learn say of the frames that a network learns from.

    Parameters
    ----------
    teachers
        (target, model file) for each target that is taught so.
    config
        Of the network that learns.
    batch
        Number of streams, B.
    xp
        Array module.

    Raises
    ------
    PvmError
        The network has no such target, or a model does not know it or answers on another grid.
    """

    def __init__(
        self, teachers: Iterable[tuple[str, Path]], config: HierarchyConfig, batch: int, xp: ModuleType
    ) -> None:
        self._teachers: list[tuple[int, int, Hierarchy]] = []  # target here, target there, who teaches it
        known: dict[Path, Hierarchy] = {}
        for target, path in teachers:
            if path not in known:
                theirs, weights, _ = load_model(path)
                known[path] = Hierarchy(theirs, batch, xp, weights, learns=False)
            teacher = known[path]
            if target not in config.targets or target not in teacher.config.targets:
                raise PvmError(f"--teacher {target}={path}: both models must know {target!r}")
            if config.readout.kind != "box" or teacher.config.cells != config.cells:
                raise PvmError(f"--teacher {target}={path}: it answers on another grid than what learns")
            here, there = config.targets.index(target), teacher.config.targets.index(target)
            self._teachers.append((here, there, teacher))
        self._known, self._targets = list(known.values()), len(config.targets)

    def __call__(self, images: Images, motion: Floats, new: Mask) -> Floats | None:
        """Return what to learn, as `Readout.backward` takes it; of other models' answers presence alone.

        Parameters
        ----------
        images
            (B, H, W, 3) uint8, the next frame of every stream.
        motion
            (B, 4) the camera's motion, as `Hierarchy.step` takes it.
        new
            (B,) streams that begin with this frame.
        """
        if not self._teachers:
            return None
        heats = {}
        for teacher in self._known:
            if new.any():
                teacher.reset(new)
            heats[id(teacher)] = teacher.readout.heat(teacher.step(images, motion, foresee=False))
        grid = next(iter(heats.values())).shape[:3]
        soft = np.full((*grid, self._targets, BOX_ANSWERS), np.nan, np.float32)
        for here, there, teacher in self._teachers:
            soft[..., here, 0] = heats[id(teacher)][..., there]
        return soft
