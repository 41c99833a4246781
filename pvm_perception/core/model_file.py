"""Model files: safetensors with the whole configuration in the metadata; nothing is executed.

A file is checked (size, header, configuration, shapes, dtypes) before any weight is allocated,
and every weight is checked to be finite before it is used.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import reprlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pvm_perception.atomic_file import atomic_file
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.settings import check_type
from pvm_perception.core.shown import expected_tensors
from pvm_perception.core.size import SHOWN, weight_shapes
from pvm_perception.errors import PvmError

FORMAT = "pvm_perception/1"
MAX_BYTES = 2 << 30
MAX_HEADER = 1 << 20  # bytes; the shipped model's is 7520
MAX_WEIGHT = 1e4  # the shipped model's largest is 5.7; one flipped bit of an exponent makes 1e38
OPTIMIZER = "optimizer."
STATES = ("m", "v", "average", "x", "d")  # of an optimizer, by weight
HISTORY = {
    "steps": int,
    "frames": int,
    "clips": int,
    "seconds": float,
    "awake_steps": int,
    "validation": dict,
    "taught": list,
    "calibration": list,
    "doubt_by_size": dict,
}
LESSON = {"from": str, "data": list, "learnt": int, "minutes": float}  # of "taught", what is shown of it


def save_model(
    path: str | os.PathLike[str],
    config: HierarchyConfig,
    weights: dict[str, np.ndarray],
    history: dict[str, Any] | None = None,
    optimizer: dict[str, np.ndarray] | None = None,
) -> None:
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
        In one line: what could not be loaded again, or the reason why the file cannot be written; what was
        at `path` before is untouched then.
    """
    tensors = {name: np.ascontiguousarray(w, np.float32) for name, w in weights.items()}
    tensors |= {
        OPTIMIZER + name: np.ascontiguousarray(w, np.float32) for name, w in (optimizer or {}).items()
    }
    metadata = {
        "format": FORMAT,
        "config": json.dumps(config.to_dict()),
        "history": json.dumps(history or {}),
    }
    try:
        claimed = json.loads(metadata["history"])
        _check_history(claimed)
        _check_tensors(config, claimed, {name: ("F32", w.shape) for name, w in tensors.items()})
        _check_values(tensors)
    except PvmError as error:
        raise PvmError(f"the model is not saved to {path}: {error}") from error
    with atomic_file(path, "model") as part:
        try:
            part.write_bytes(save(tensors, metadata))
        except SafetensorError as error:
            raise PvmError(f"cannot write the model to {path}: {str(error).splitlines()[0]}") from error


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return {"config": HierarchyConfig, "history": dict, "weights": int, "bytes": int}.

    Raises
    ------
    PvmError
        In one line: missing, not safetensors, of another program, cut short, or a configuration
        and shapes that do not fit each other.
    """
    path = Path(path)
    with _refusing(path), _open(path) as file:
        config, history = _check(file)
        return {
            "config": config,
            "history": history,
            "bytes": path.stat().st_size,
            "weights": sum(map(math.prod, weight_shapes(config).values())),
        }


def load_model(
    path: str | os.PathLike[str], optimizer: bool = False
) -> tuple[HierarchyConfig, dict[str, np.ndarray], dict[str, Any]]:
    """Read a model file and check all of it.

    Parameters
    ----------
    path
        A safetensors file.
    optimizer
        Whether to train on: the state to resume with is then among the weights, under "optimizer.", and what
        the model knows of shown targets is left out, as it reads codes that training changes.

    Returns
    -------
    configuration, weights, history
        The weights by name, on the host; the history as the file holds it.
    """
    path = Path(path)
    with _refusing(path), _open(path) as file:
        config, history = _check(file)
        names = [n for n in file.keys() if optimizer or not n.startswith(OPTIMIZER)]  # noqa: SIM118 (no dict)
        weights = {name: file.get_tensor(name) for name in names}
        _check_values(weights)
    if optimizer:
        history = {name: value for name, value in history.items() if name != SHOWN}
        weights = {name: w for name, w in weights.items() if not name.startswith(SHOWN + ".")}
    return config, weights, history


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a model file into a PvmError of one line that names the file."""
    try:
        yield
    except PvmError as error:
        raise PvmError(f"model {path}: {error}") from error
    except OSError as error:
        raise PvmError(f"model {path}: it cannot be opened: {error.strerror or error}") from error
    except Exception as error:  # the file may be anybody's: nothing about it ends a node
        reason = " ".join(str(error).split())[:200]
        raise PvmError(
            f"model {path}: it is damaged or no safetensors file ({type(error).__name__}: {reason})"
        ) from error


def _open(path: Path) -> Any:
    """Open a file whose size and whose header's size are within bounds."""
    size = path.stat().st_size
    if not path.is_file():
        raise PvmError("it is not a file")
    if size > MAX_BYTES:
        raise PvmError(f"it is {size >> 20} MiB, over the limit of {MAX_BYTES >> 20} MiB")
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > MAX_HEADER:
        raise PvmError(f"its header says it has {header} bytes, at most {MAX_HEADER} are read")
    return safe_open(path, "numpy")


def _check(file: Any) -> tuple[HierarchyConfig, dict[str, Any]]:
    """Return configuration and history of an open file; PvmError unless they and all tensors fit."""
    metadata = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise PvmError(f"it is no {FORMAT} file")
    parts = {}
    for name in ("config", "history"):
        try:
            parts[name] = json.loads(metadata[name])
        except (KeyError, ValueError, RecursionError) as error:
            raise PvmError(f"its {name} cannot be read ({type(error).__name__})") from error
    config = HierarchyConfig.from_dict(parts["config"])
    _check_history(parts["history"])
    found = ((name, file.get_slice(name)) for name in file.keys())  # noqa: SIM118 (no dict)
    _check_tensors(
        config, parts["history"], {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in found}
    )
    return config, parts["history"]


def _check_tensors(
    config: HierarchyConfig, history: dict[str, Any], found: dict[str, tuple[str, tuple[int, ...]]]
) -> None:
    """Raise PvmError unless tensors, by name (dtype, shape), are the weights that belong to both.

    An optimizer's state may be among them; it is resumed from as far as its shapes fit.
    """
    expected = weight_shapes(config) | expected_tensors(config, history)
    odd = sorted({n for n in found if not n.startswith(OPTIMIZER)} ^ set(expected))
    odd += sorted(n for n in found if n.startswith(OPTIMIZER) and not _is_state(n, weight_shapes(config)))
    odd += sorted(n for n, (_, shape) in found.items() if n.startswith(SHOWN) and shape != expected.get(n))
    if odd and odd[0].startswith(SHOWN):
        raise PvmError(
            "it holds shown targets of another version: take a model without them, and show them again"
        )
    if odd:
        raise PvmError(f"weights and configuration disagree about {reprlib.repr(odd[0])}")
    for name, (dtype, shape) in found.items():
        if dtype != "F32" or shape != expected.get(name, shape):
            raise PvmError(
                f"{reprlib.repr(name)} is {dtype} {reprlib.repr(shape)}, expected F32 "
                f"{expected.get(name, '')}".rstrip()
            )


def _is_state(name: str, weights: Container[str]) -> bool:
    """Whether a tensor may be an optimizer's state: "optimizer.m.L1.w1"."""
    _, kind, weight = (*name.split(".", 2), "", "")[:3]
    return kind in STATES and weight in weights


def _check_history(history: Any) -> None:
    """Raise PvmError unless a history is a table whose known entries are of their types."""
    if not isinstance(history, dict):
        raise PvmError("its history is no table of names and values")
    for name, kind in HISTORY.items():
        if name in history:
            check_type(f"its history's {name}", kind, history[name])
            if kind in (int, float) and history[name] < 0:
                raise PvmError(f"its history's {name} is {history[name]}; it must be 0 or more")
    for name, value in history.get("validation", {}).items():
        if not name.isprintable() or isinstance(value, bool) or not isinstance(value, (int, float)):
            raise PvmError(
                f"its history's validation has {reprlib.repr(name)}: {reprlib.repr(value)}, which "
                "is no number"
            )
    for lesson in history.get("taught", ()):
        check_type("a lesson of its history", dict, lesson)
        for name, kind in LESSON.items():
            check_type(f"a lesson's {name}", kind, lesson.get(name))
        check_type("a lesson's data", (tuple[str, ...]), tuple(lesson["data"]))
        if not all(map(str.isprintable, (lesson["from"], *lesson["data"]))):
            raise PvmError("a lesson's names are not printable")


def _check_values(tensors: dict[str, np.ndarray]) -> None:
    """Raise PvmError unless all values are finite and all weights of a size that learning can reach."""
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise PvmError(f"{name} holds values that are not finite")
        if not name.startswith(OPTIMIZER) and values.size and np.abs(values).max() > MAX_WEIGHT:
            raise PvmError(f"{name} holds values over {MAX_WEIGHT:g}: it is damaged, or learning ran away")
