"""A small stand-in for `launch` and `launch_ros`, which come with ROS 2 but are in no registry.

It has what the launch files use and nothing else, with the signatures of Humble to Rolling, so a
name or an argument that does not exist fails here as it would on a robot. It starts nothing: it
carries out a launch file and returns the nodes, environment and files that would be there.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import yaml
from conftest import ROOT


class Context:
    def __init__(self, arguments):
        self.arguments, self.found, self.environment = dict(arguments), [], {}
        self.declared = set()


def text_of(thing, context):
    """Perform substitutions: a string, a substitution, or a list of both."""
    if isinstance(thing, (list, tuple)):
        return "".join(text_of(t, context) for t in thing)
    if hasattr(thing, "perform"):
        return thing.perform(context)
    assert isinstance(thing, str), f"{thing!r} is neither a string nor a substitution"
    return thing


class LaunchConfiguration:
    def __init__(self, variable_name):
        self.name = variable_name

    def perform(self, context):
        assert self.name in context.arguments, f"argument {self.name} is not declared"
        return context.arguments[self.name]


class PathJoinSubstitution:
    def __init__(self, substitutions):
        assert isinstance(substitutions, list)
        self.parts = substitutions

    def perform(self, context):
        return str(Path(*(text_of(p, context) for p in self.parts)))


class EqualsSubstitution:
    def __init__(self, left, right):
        self.left, self.right = left, right

    def perform(self, context):
        return str(text_of(self.left, context) == text_of(self.right, context)).lower()


class FindPackageShare:
    def __init__(self, package):
        self.package = package

    def perform(self, context):
        return str(ROOT) if self.package == "pvm_perception" else f"/other/{self.package}"


class IfCondition:
    truth = True

    def __init__(self, predicate_expression):
        self.expression = predicate_expression

    def holds(self, context):
        word = text_of(self.expression, context).lower()
        assert word in ("true", "false", "1", "0")
        return (word in ("true", "1")) is self.truth


class UnlessCondition(IfCondition):
    truth = False


class Action:
    def __init__(self, *, condition=None):
        self.condition = condition

    def visit(self, context):
        if self.condition is None or self.condition.holds(context):
            self.execute(context)


class DeclareLaunchArgument(Action):
    def __init__(self, name, *, default_value=None, description=None, choices=None, **kwargs):
        super().__init__(**kwargs)
        self.name, self.default, self.description = name, default_value, description
        self.choices = choices
        assert choices is None or (choices and all(isinstance(c, str) for c in choices))
        assert description, f"argument {name} has no description"

    def execute(self, context):
        context.declared.add(self.name)
        if self.name not in context.arguments:
            assert self.default is not None, f"argument {self.name} is required"
            context.arguments[self.name] = text_of(self.default, context)
        if self.choices:
            assert context.arguments[self.name] in self.choices, self.name


class OpaqueFunction(Action):
    def __init__(self, *, function, args=None, kwargs=None, **others):
        super().__init__(**others)
        self.function = function

    def execute(self, context):
        for action in self.function(context) or ():
            action.visit(context)


class SetEnvironmentVariable(Action):
    def __init__(self, name, value, **kwargs):
        super().__init__(**kwargs)
        self.name, self.value = name, value

    def execute(self, context):
        context.environment[text_of(self.name, context)] = text_of(self.value, context)


class PythonLaunchDescriptionSource:
    def __init__(self, launch_file_path):
        self.path = launch_file_path


class IncludeLaunchDescription(Action):
    def __init__(self, launch_description_source, *, launch_arguments=None, **kwargs):
        super().__init__(**kwargs)
        assert isinstance(launch_description_source, PythonLaunchDescriptionSource)
        self.source, self.arguments = launch_description_source, list(launch_arguments or ())

    def execute(self, context):
        path = text_of(self.source.path, context)
        given = {text_of(k, context): text_of(v, context) for k, v in self.arguments}
        if not path.startswith(str(ROOT)):
            context.found.append(("include", path, given))
            return
        context.arguments.update(given)
        description = load(path)
        unknown = set(given) - {a.name for a in description.arguments}
        assert not unknown, f"{path} declares no {unknown}"
        description.visit(context)


class Node(Action):
    def __init__(
        self,
        *,
        executable,
        package=None,
        name=None,
        namespace=None,
        exec_name=None,
        parameters=None,
        remappings=None,
        ros_arguments=None,
        arguments=None,
        output="log",
        respawn=False,
        respawn_delay=None,
        emulate_tty=False,
        additional_env=None,
        prefix=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.fields = {"package": package, "executable": executable, "name": name, "namespace": namespace}
        self.parameters, self.remappings = parameters or [], remappings or []
        self.words = [*(arguments or ()), *(ros_arguments or ())]
        assert output in ("screen", "log", "both")

    def execute(self, context):
        node = {k: None if v is None else text_of(v, context) for k, v in self.fields.items()}
        node["files"] = [text_of(p, context) for p in self.parameters if not isinstance(p, dict)]
        node["parameters"] = {
            k: value_of(v, context) for p in self.parameters if isinstance(p, dict) for k, v in p.items()
        }
        node["remappings"] = {text_of(a, context): text_of(b, context) for a, b in self.remappings}
        node["words"] = [text_of(w, context) for w in self.words]
        node["environment"] = dict(context.environment)
        context.found.append(("node", node["executable"], node))


class ParameterValue:
    def __init__(self, value, *, value_type=None):
        self.value, self.type = value, value_type


def value_of(value, context):
    """Return a parameter's value: launch_ros reads substitutions as YAML, unless given a type."""
    if isinstance(value, ParameterValue):
        text = text_of(value.value, context)
        if value.type in (None, str):
            return text if value.type else yaml.safe_load(text)
        read = yaml.safe_load(text)
        # a float may be written as an int, nothing else as another type
        assert type(read) is value.type or (value.type, type(read)) == (float, int), text
        return value.type(read)
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return value
    return yaml.safe_load(text_of(value, context))


class LaunchDescription:
    def __init__(self, initial_entities=None):
        self.entities = list(initial_entities or ())
        assert all(isinstance(e, Action) for e in self.entities)

    @property
    def arguments(self):
        return [e for e in self.entities if isinstance(e, DeclareLaunchArgument)]

    def visit(self, context):
        for entity in self.entities:
            entity.visit(context)


MODULES = {
    "launch": [LaunchDescription],
    "launch.actions": [
        DeclareLaunchArgument,
        IncludeLaunchDescription,
        OpaqueFunction,
        SetEnvironmentVariable,
    ],
    "launch.conditions": [IfCondition, UnlessCondition],
    "launch.launch_description_sources": [PythonLaunchDescriptionSource],
    "launch.substitutions": [EqualsSubstitution, LaunchConfiguration, PathJoinSubstitution],
    "launch_ros": [],
    "launch_ros.actions": [Node],
    "launch_ros.parameter_descriptions": [ParameterValue],
    "launch_ros.substitutions": [FindPackageShare],
}


def load(path):
    """Return the description in a launch file, which sees the stand-in instead of launch."""
    before = {name: sys.modules.get(name) for name in MODULES}
    for name, things in MODULES.items():
        sys.modules[name] = ModuleType(name)
        for thing in things:
            setattr(sys.modules[name], thing.__name__, thing)
    try:
        spec = importlib.util.spec_from_file_location("launch_file", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.generate_launch_description()
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def run(path, **arguments):
    """Return what a launch file would start: ("node", executable, facts) or ("include", ...)."""
    context = Context(arguments)
    load(path).visit(context)
    unknown = set(arguments) - context.declared  # by the file, or by one that it includes
    assert not unknown, f"{path} declares no {unknown}"
    return context.found
