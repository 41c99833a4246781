"""The models that sleeps made, in the memory's folder: the newest is in use, the one before can come back."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.model_file import read_header, save_model
from pvm_perception.errors import PvmError

KEPT = 5  # models


def fingerprint(path: Path) -> str:
    """Return what tells a model file from others: the head of its SHA-256."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


class Snapshots:
    """The models in the folder of a memory.

    Parameters
    ----------
    memory
        The folder.
    base
        The model file that the first sleep began with; models that come from another are left alone.
    """

    def __init__(self, memory: Path, base: Path) -> None:
        self.folder, self.base = Path(memory) / "models", Path(base)
        self._fingerprint = fingerprint(base)

    def paths(self) -> list[Path]:
        """Return the models that come from the base and can be loaded, oldest first."""
        found = []
        for path in sorted(self.folder.glob("model-*.safetensors")):
            with contextlib.suppress(PvmError):
                if read_header(path)["history"].get("base") == self._fingerprint:
                    found.append(path)
        return found

    def current(self) -> Path:
        """Return the model in use: the newest, or the base."""
        return (self.paths() or [self.base])[-1]

    def add(self, config: HierarchyConfig, weights: dict[str, np.ndarray], history: dict[str, Any]) -> Path:
        """Write a new model, which is in use from now on; remove the oldest beyond `KEPT`.

        Parameters
        ----------
        config, weights, history
            Of the model, as for `save_model`.

        Raises
        ------
        PvmError
            If the file cannot be written.
        """
        numbers = [int(p.stem[6:]) for p in self.folder.glob("model-*.safetensors") if p.stem[6:].isdigit()]
        path = self.folder / f"model-{max(numbers, default=0) + 1:06d}.safetensors"
        save_model(path, config, weights, history | {"base": self._fingerprint})
        for old in self.paths()[:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    def roll_back(self) -> Path:
        """Remove the newest model and return the one that is in use now.

        Raises
        ------
        PvmError
            There is none to go back from.
        """
        paths = self.paths()
        if not paths:
            raise PvmError("no sleep changed this model: there is nothing to go back to")
        paths[-1].unlink()
        return self.current()
