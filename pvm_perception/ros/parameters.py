"""The parameters of a node, declared once as dataclass settings.

From them come the ROS descriptors, the YAML file and the documentation's table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pvm_perception.core.settings import check_value, settings_of
from pvm_perception.errors import PvmError

Settings = TypeVar("Settings")


def default_of(field: dataclasses.Field[Any]) -> Any:
    """Return a setting's default value."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


@dataclass(frozen=True)
class Parameters:
    """All parameters of one node.

    Attributes
    ----------
    groups
        Dataclasses whose fields were declared with `setting`.
    fixed
        Names that cannot change once the node runs.
    """

    groups: tuple[type, ...]
    fixed: tuple[str, ...] = ()

    def fields(self) -> list[dataclasses.Field[Any]]:
        """Return the settings of all groups."""
        return [f for group in self.groups for f in settings_of(group)]

    def reason_against(self, name: str, value: Any, running: bool) -> str:
        """Return why a parameter cannot take a value, or "" if it can.

        Parameters
        ----------
        name, value
            The parameter; names that are not ours are left to others.
        running
            Whether the node is past its start, when some parameters are fixed.
        """
        field = next((f for f in self.fields() if f.name == name), None)
        if field is None:
            return ""
        if running and name in self.fixed:
            return f"{name} is fixed at start; restart the node with -p {name}:={value}"
        if isinstance(default_of(field), list):
            words = [v for v in value or [] if isinstance(v, str)]
            if not words or len(set(words)) != len(list(value)):
                return f"{name} must be a list of different names that is not empty"
        try:
            check_value(field, value)
        except PvmError as error:
            return str(error)
        return ""

    def _reason_against_group(self, node: Any, changes: dict[str, Any]) -> str:
        """Return why one of the groups cannot take its values all together, or "" if they can."""
        for group in self.groups:
            fields = list(settings_of(group))
            if not any(f.name in changes for f in fields):
                continue
            present = {f.name: node.get_parameter(f.name).value for f in fields if node.has_parameter(f.name)}
            try:
                group(**present | {f.name: changes[f.name] for f in fields if f.name in changes})
            except PvmError as error:
                return str(error)
        return ""

    def declare(self, node: Any, refuse: Callable[[str, Any], str] = lambda _name, _value: "") -> None:
        """Declare the parameters on a node; refuse bad values at start and while it runs.

        Parameters
        ----------
        node
            An rclpy node.
        refuse
            (name, value) -> a reason of the node's own against a value, or "".
        """
        from rcl_interfaces.msg import SetParametersResult

        running = False

        def check(changes: list[Any]) -> SetParametersResult:
            for p in changes:
                reason = self.reason_against(p.name, p.value, running) or refuse(p.name, p.value)
                if reason:
                    return SetParametersResult(successful=False, reason=reason)
            reason = self._reason_against_group(node, {p.name: p.value for p in changes})
            return SetParametersResult(successful=not reason, reason=reason)

        node.add_on_set_parameters_callback(check)
        for field in self.fields():
            node.declare_parameter(field.name, default_of(field), descriptor(field))
        running = True

    def yaml_file(self) -> str:
        """Return the parameters as a ROS YAML file with every default, meaning and range."""
        lines = ["/**:", "  ros__parameters:"]
        for field in self.fields():
            extent = f" ({_range(field)})" if _range(field) else ""
            lines.append(f"    # {field.metadata['doc']}{extent}")
            value = default_of(field)
            text = (
                "[" + ", ".join(f'"{v}"' for v in value) + "]"
                if isinstance(value, list)
                else f'"{value}"'
                if isinstance(value, str)
                else str(value).lower()
            )
            lines.append(f"    {field.name}: {text}")
        return "\n".join(lines) + "\n"

    def markdown_table(self) -> str:
        """Return the parameters as a table for the documentation."""
        lines = ["| parameter | default | range | meaning |", "|---|---|---|---|"]
        for field in self.fields():
            value = default_of(field)
            shown = str(value).lower() if isinstance(value, bool) else repr(value)
            lines.append(f"| `{field.name}` | `{shown}` | {_range(field)} | {field.metadata['doc']} |")
        return "\n".join(lines) + "\n"


def values_of(node: Any, group: type[Settings]) -> Settings:
    """Return a node's present parameters as one of its groups of settings.

    Parameters
    ----------
    node
        Which declared them.
    group
        A dataclass of settings.
    """
    return group(**{f.name: node.get_parameter(f.name).value for f in settings_of(group)})


def descriptor(field: dataclasses.Field[Any]) -> Any:
    """Return the rcl_interfaces ParameterDescriptor of a setting."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    meta, default = field.metadata, default_of(field)
    result = ParameterDescriptor(name=field.name, description=meta["doc"])
    if meta["choices"]:
        result.additional_constraints = "one of " + ", ".join(meta["choices"])
    if meta["low"] is not None and meta["high"] is not None:
        if isinstance(default, float):
            result.floating_point_range = [
                FloatingPointRange(from_value=float(meta["low"]), to_value=float(meta["high"]), step=0.0)
            ]
        else:
            result.integer_range = [
                IntegerRange(from_value=int(meta["low"]), to_value=int(meta["high"]), step=1)
            ]
    return result


def _range(field: dataclasses.Field[Any]) -> str:
    meta = field.metadata
    if meta["choices"]:
        return ", ".join(meta["choices"])
    return "" if meta["low"] is None else f"{meta['low']} to {meta['high']}"
