"""Declare a setting once: default, meaning and range, on a frozen dataclass field.

From these fields come the ROS parameter descriptors, the YAML files and the tables in the docs.
"""

from __future__ import annotations

import dataclasses
import math
import reprlib
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any

from pvm_perception.errors import PvmError


def setting(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
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
        The allowed words for strings and lists of them.
    """
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def redefault(cls: type, name: str, default: Any) -> Any:
    """Return the setting `name` of `cls` with another default, for a subclass that starts there.

    Parameters
    ----------
    cls
        Dataclass that declares the setting.
    name
        Its field.
    default
        The value that the subclass starts with.
    """
    field = next(f for f in settings_of(cls) if f.name == name)
    return dataclasses.field(default=default, metadata=field.metadata)


def settings_of(cls: type) -> Iterator[dataclasses.Field[Any]]:
    """Yield the fields of `cls` that were declared with `setting`."""
    return (f for f in dataclasses.fields(cls) if "doc" in f.metadata)


def check_type(name: str, kind: Any, value: Any) -> None:
    """Raise an error where a value is not of the type that a field is annotated with.

    An int is no bool and no 3.0; a float may be written as an int and is finite; a tuple's items are checked
    each.

    Parameters
    ----------
    name
        What the error calls the value.
    kind
        bool, int, float, str, a class, a list of one of these, or a tuple of them, of one length or any.
    value
        Anything, from a file or from the command line.

    Raises
    ------
    PvmError
        It is of another type, not finite, or a tuple of another length.
    """
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        if not isinstance(value, tuple):
            raise PvmError(f"{name} is {reprlib.repr(value)}; it must be a list")
        if items[-1] is Ellipsis:
            items = items[:1] * len(value)
        if len(items) != len(value):
            raise PvmError(f"{name} is {reprlib.repr(value)}; it must have {len(items)} entries")
        for item, one in zip(items, value, strict=True):
            check_type(name, item, one)
        return
    if typing.get_origin(kind) is list:
        check_type(name, list, value)
        for one in value:
            check_type(name, typing.get_args(kind)[0], one)
        return
    words = {float: "a finite number", int: "a whole number", bool: "true or false", str: "a text"}
    if kind is float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value)
    else:
        good = isinstance(value, kind) and (kind is not int or not isinstance(value, bool))
    if not good:
        raise PvmError(f"{name} is {reprlib.repr(value)}; it must be {words.get(kind, f'a {kind.__name__}')}")


def _finite(value: float) -> bool:
    """Whether a number is finite as a float, too: an int may be larger than any."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_value(field: dataclasses.Field[Any], value: Any) -> None:
    """Raise an error where a value lies outside of what a field allows.

    Parameters
    ----------
    field
        Declared with `setting`, which gives its range or its choices.
    value
        Of the field's type.

    Raises
    ------
    PvmError
        It is none of the choices, or not within the range.
    """
    meta = field.metadata
    words = value if isinstance(value, (list, tuple)) else [value]
    for word in words if meta.get("choices") else ():
        if word not in meta["choices"]:
            raise PvmError(
                f"{field.name} is {reprlib.repr(word)}; it must be one of {', '.join(meta['choices'])}"
            )
    low, high = meta.get("low"), meta.get("high")
    if low is None and high is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise PvmError(f"{field.name} is {reprlib.repr(value)}; it must be a number")
    if (low is not None and value < low) or (high is not None and value > high):
        raise PvmError(f"{field.name} is {reprlib.repr(value)}; it must lie between {low} and {high}")


def check(instance: Any) -> None:
    """Check every field's type and every setting's range of an instance (call it in ``__post_init__``)."""
    cls: Any = type(instance)
    for name, kind in _kinds(cls).items():
        check_type(name, kind, getattr(instance, name))
    for field in settings_of(cls):
        check_value(field, getattr(instance, field.name))


@cache
def _kinds(cls: Any) -> dict[str, Any]:
    """Return the types of a dataclass's fields by name."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}
