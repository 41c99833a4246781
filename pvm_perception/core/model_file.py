"""Model files: safetensors with the whole configuration in the metadata; nothing is executed.

A file is checked (size, header, configuration, shapes, dtypes) before any weight is allocated,
and every weight is checked to be finite before it is used.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pvm_perception.atomic_file import atomic_file
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.hierarchy import weight_shapes
from pvm_perception.errors import PvmError

FORMAT = "pvm_perception/1"
MAX_BYTES = 2 << 30
OPTIMIZER = "optimizer."


def save_model(path: str | os.PathLike, config: HierarchyConfig, weights: dict[str, np.ndarray],
               history: dict[str, Any] | None = None,
               optimizer: dict[str, np.ndarray] | None = None) -> None:
    """Write a model file, whole or not at all; it is on the disk when this returns.

    Parameters
    ----------
    path
        Where to; replaced in one move, see `atomic_file`, so that a reader never sees half a file.
    config, weights
        The network; weights are a flat dictionary of float32 arrays.
    history
        JSON data about the training: "steps", "frames", data, scores.
    optimizer
        State to resume with (checkpoints only).

    Raises
    ------
    PvmError
        In one line: values that are not finite, or the reason why the file cannot be written; what was at
        `path` before is untouched then.
    """
    path = Path(path)
    tensors = {name: np.ascontiguousarray(w, np.float32) for name, w in weights.items()}
    tensors |= {OPTIMIZER + name: np.ascontiguousarray(w, np.float32)
                for name, w in (optimizer or {}).items()}
    metadata = {"format": FORMAT, "config": json.dumps(config.to_dict()),
                "history": json.dumps(history or {})}
    odd = [name for name, w in tensors.items() if not np.isfinite(w).all()]
    if odd:
        raise PvmError(f"the model is not saved to {path}: {odd[0]} holds values that are not finite")
    with atomic_file(path, "model") as part:
        try:
            part.write_bytes(save(tensors, metadata))
        except SafetensorError as error:
            raise PvmError(f"cannot write the model to {path}: {str(error).splitlines()[0]}") from error


def read_header(path: str | os.PathLike) -> dict[str, Any]:
    """Return {"config": HierarchyConfig, "history": dict, "weights": int, "bytes": int}.

    Raises
    ------
    PvmError
        In one line: missing, not safetensors, of another program, cut short, or a configuration
        and shapes that do not fit each other.
    """
    with _open(path) as file:
        return _check_header(Path(path), file)


def load_model(path: str | os.PathLike, optimizer: bool = False
               ) -> tuple[HierarchyConfig, dict[str, np.ndarray], dict[str, Any]]:
    """Return (configuration, weights, history) of a model file, all checked.

    With `optimizer`, the state to resume with is among the weights, under "optimizer.".
    """
    with _open(path) as file:
        header = _check_header(Path(path), file)
        names = [n for n in file.keys() if optimizer or not n.startswith(OPTIMIZER)]  # noqa: SIM118 (no dict)
        weights = {name: file.get_tensor(name) for name in names}
    for name, w in weights.items():
        if not np.isfinite(w).all():
            raise PvmError(f"model {path} is damaged: {name} holds values that are not finite")
    return header["config"], weights, header["history"]


def _open(path: str | os.PathLike) -> Any:
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise PvmError(f"model {path} cannot be opened: {error.strerror}") from error
    if not path.is_file():
        raise PvmError(f"model {path} is not a file")
    if size > MAX_BYTES:
        raise PvmError(f"model {path} is {size >> 20} MiB, over the limit of {MAX_BYTES >> 20} MiB")
    try:
        return safe_open(path, "numpy")
    except (SafetensorError, OSError, ValueError) as error:
        raise PvmError(f"model {path} is damaged or no safetensors file: "
                       f"{str(error).splitlines()[0]}") from error


def _check_header(path: Path, file: Any) -> dict[str, Any]:
    metadata = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise PvmError(f"model {path} is no {FORMAT} file")
    try:
        config = HierarchyConfig.from_dict(json.loads(metadata["config"]))
        history = json.loads(metadata["history"])
    except PvmError as error:
        raise PvmError(f"model {path}: {error}") from error
    except (KeyError, json.JSONDecodeError, RecursionError) as error:
        raise PvmError(f"model {path}: its configuration cannot be read ({error})") from error
    if not isinstance(history, dict):
        raise PvmError(f"model {path}: its history is not a table")
    expected = weight_shapes(config)
    found = {n for n in file.keys() if not n.startswith(OPTIMIZER)}  # noqa: SIM118 (no dict)
    if found != set(expected):
        odd = sorted(found ^ set(expected))[0]
        raise PvmError(f"model {path}: weights and configuration disagree about {odd}")
    for name, shape in expected.items():
        part = file.get_slice(name)
        if tuple(part.get_shape()) != shape or part.get_dtype() != "F32":
            raise PvmError(f"model {path}: {name} is {part.get_dtype()} "
                           f"{tuple(part.get_shape())}, expected F32 {shape}")
    return {"config": config, "history": history,
            "weights": sum(int(np.prod(s)) for s in expected.values()),
            "bytes": path.stat().st_size}
