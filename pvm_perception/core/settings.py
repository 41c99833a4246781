"""Declare a setting once: default, meaning and range, on a frozen dataclass field.

From these fields come the ROS parameter descriptors, the YAML files and the tables in the docs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from pvm_perception.errors import PvmError


def setting(default: Any, doc: str, *, low: float | None = None, high: float | None = None,
            choices: tuple[str, ...] | None = None) -> Any:
    """Return a dataclass field that carries its description and its range.

    Parameters
    ----------
    default
        The value when nobody says otherwise; its type is the setting's type.
    doc
        One sentence for a person, with the unit.
    low, high
        Inclusive bounds for numbers.
    choices
        The allowed words for strings.
    """
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def redefault(cls: type, name: str, default: Any) -> Any:
    """Return the setting `name` of `cls` with another default, for a subclass that starts there."""
    field = next(f for f in settings_of(cls) if f.name == name)
    return dataclasses.field(default=default, metadata=field.metadata)


def settings_of(cls: type) -> Iterator[dataclasses.Field]:
    """Yield the fields of `cls` that were declared with `setting`."""
    return (f for f in dataclasses.fields(cls) if "doc" in f.metadata)


def check_value(field: dataclasses.Field, value: Any) -> None:
    """Raise PvmError when `value` is outside what `field` allows."""
    meta = field.metadata
    if meta.get("choices") and value not in meta["choices"]:
        raise PvmError(f"{field.name} is {value!r}; it must be one of {', '.join(meta['choices'])}")
    low, high = meta.get("low"), meta.get("high")
    if low is None and high is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise PvmError(f"{field.name} is {value!r}; it must be a number")
    if (low is not None and value < low) or (high is not None and value > high):
        raise PvmError(f"{field.name} is {value}; it must lie between {low} and {high}")


def check(instance: Any) -> None:
    """Check every setting of a dataclass instance (call it in ``__post_init__``)."""
    for field in settings_of(type(instance)):
        check_value(field, getattr(instance, field.name))
