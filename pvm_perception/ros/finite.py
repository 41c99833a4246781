"""Whether every number in a message is finite, of whatever type the message is."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

FLOATS = ("float", "double")


@cache
def _plan(kind: Any) -> tuple[tuple[str, str], ...]:
    """Return (field, what it is) of the fields that can hold floating-point numbers.

    What it is: "number", "numbers", "message" or "messages".
    """
    result = []
    for name, text in kind.get_fields_and_field_types().items():
        base = re.split(r"[\[<>,]", text.removeprefix("sequence<"))[0]
        many = text != base
        if base in FLOATS:
            result.append((name, "numbers" if many else "number"))
        elif "/" in base:
            result.append((name, "messages" if many else "message"))
    return tuple(result)


def odd_number(message: Any) -> str:
    """Return where a message holds a number that is not finite, as "field.field is nan"; "" = nowhere.

    Parameters
    ----------
    message
        Any ROS message. Bytes, as an image's pixels, are not looked into.
    """
    kind: Any = type(message)
    for name, what in _plan(kind):
        value = getattr(message, name)
        if what == "number":
            if not math.isfinite(value):
                return f"{name} is {value}"
        elif what == "numbers":
            odd = next((v for v in value if not math.isfinite(v)), None)
            if odd is not None:
                return f"{name} holds {odd}"
        else:
            for part in value if what == "messages" else (value,):
                if odd := odd_number(part):
                    return f"{name}.{odd}"
    return ""
