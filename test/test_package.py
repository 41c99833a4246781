"""What is written in two places must say the same; the package must be what ROS expects."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
import yaml
from conftest import ROOT

from pvm_perception import __version__
from pvm_perception.core.model_file import read_header
from pvm_perception.ros.node_settings import NODES
from pvm_perception.shipped import default_model


def test_one_version():
    xml = ET.parse(ROOT / "package.xml").getroot()
    assert xml.findtext("version") == __version__
    assert f'version="{__version__}"' in (ROOT / "setup.py").read_text()
    assert __version__ in (ROOT / "CHANGELOG.rst").read_text()


def test_package_xml_is_an_ament_python_package():
    xml = ET.parse(ROOT / "package.xml").getroot()
    assert xml.get("format") == "3"
    assert xml.findtext("export/build_type") == "ament_python"
    assert (ROOT / "resource" / xml.findtext("name")).exists()
    kind, settings = yaml.safe_load_all((ROOT / xml.findtext("export/rosdoc2")).read_text())
    assert kind == {"type": "rosdoc2 config", "version": 1}
    pages = settings["builders"][0]["sphinx"]["user_doc_dir"]
    assert (ROOT / pages / "index.md").is_file()


@pytest.mark.parametrize("name", NODES)
def test_parameter_files_and_pages_are_generated_from_the_settings(name):
    """Regenerate: .venv/bin/python scripts/make_docs.py."""
    parameters = NODES[name]
    assert (ROOT / "config" / f"{name}.yaml").read_text() == parameters.yaml_file()
    assert parameters.markdown_table() in (ROOT / "docs" / "parameters.md").read_text()


def test_tables_of_pages_are_those_of_the_figures(monkeypatch):
    """Regenerate: .venv/bin/python scripts/make_docs.py."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    make_docs = importlib.import_module("make_docs")
    for page in (ROOT / "README.md", ROOT / "models/README.md", *(ROOT / "docs").glob("*.md")):
        assert make_docs.filled(page.read_text()) == page.read_text(), page
    assert "| green_ball | 0." in make_docs.table("labelled_means")


@pytest.mark.parametrize("name", NODES)
def test_the_groups_of_a_node_do_not_collide(name):
    names = [f.name for f in NODES[name].fields()]
    assert len(set(names)) == len(names)
    assert set(NODES[name].fixed) <= set(names)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "pvm_perception").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_dependencies_point_inward(path):
    """core knows numpy alone; only ros/ and what starts it import rclpy."""
    package = path.relative_to(ROOT / "pvm_perception").parts[0]
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    inner = {m.split(".")[1] for m in imported if m.startswith("pvm_perception.")}
    outer = {m.split(".")[0] for m in imported}
    if package == "core":
        assert inner <= {"core", "errors", "types", "atomic_file"}
        assert "cv2" not in outer
    if package in ("vision", "streams"):
        assert inner <= {"core", "vision", "streams", "errors", "types", "atomic_file", "shipped"}
    if package == "evaluation":
        assert "training" not in inner
    if package in ("evaluation", "training"):
        assert "ros" not in inner
    if package not in ("commands", "closed_loop"):
        assert "closed_loop" not in inner, "the simulation is for nobody but its command"
    if package not in ("ros", "commands", "__main__.py") and path.name != "bridge.py":
        assert not outer & {"rclpy", "sensor_msgs", "vision_msgs"}


def test_launch_file_parses_and_names_the_executable():
    text = (ROOT / "launch" / "tracker.launch.py").read_text()
    ast.parse(text)
    assert 'executable="tracker"' in text


def test_the_shipped_model_is_what_its_card_says():
    header = read_header(default_model())
    card = (ROOT / "models" / "README.md").read_text()
    assert header["bytes"] < 5_000_000
    assert f"{header['weights']:,} weights" in card
    assert f"{header['history']['frames']:,} frames" in card


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the wheel that `pip install .` builds, and then installs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    names = [p.name for p in ROOT.iterdir() if p.name[0] != "." and p.name not in ("build", "install", "log")]
    source.mkdir()
    for name in names:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", folder, source], check=True, timeout=600)
    (file,) = folder.glob("*.whl")
    return file


@pytest.mark.parametrize("where", ["--prefix", "--target"])
def test_an_installed_package_finds_its_model(tmp_path, where, wheel):
    """Somewhere, without a ROS environment: the command line runs from another folder."""
    place = tmp_path / "place"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", where, place, wheel],
        check=True,
        timeout=600,
    )
    packages = next(place.rglob("pvm_perception/__main__.py")).parents[1]
    env = {k: v for k, v in os.environ.items() if k != "AMENT_PREFIX_PATH"} | {"PYTHONPATH": str(packages)}
    code = "from pvm_perception import Tracker; t = Tracker(); print(t.model)"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert str(place) in process.stdout


def test_readme_commands_exist():
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= set(re.findall(r"(?<![a-z])make ([a-z-]+)", readme)) <= targets
    from pvm_perception.__main__ import COMMANDS

    assert set(re.findall(r"-m pvm_perception ([a-z]+)", readme)) <= set(COMMANDS)
    run = (ROOT / ".ci" / "run").read_text()
    assert "make demo" in run and "make test" in run


def test_nothing_in_the_repository_is_large():
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if parts[0] in (".git", ".venv", "build") or not path.is_file():
            continue
        assert path.stat().st_size < 10_000_000, path


def test_no_python_file_is_longer_than_one_can_keep_in_mind():
    """A longer one has two subjects, and is split by them."""
    for path in ROOT.rglob("*.py"):
        if path.relative_to(ROOT).parts[0] not in (".venv", "build"):
            assert len(path.read_text().splitlines()) <= 350, path


def arguments_of(function, is_method):
    a = function.args
    given = [arg.arg for arg in (*a.posonlyargs, *a.args)]
    if is_method and "staticmethod" not in map(ast.unparse, function.decorator_list):
        given = given[1:]
    starred = [f"{star}{arg.arg}" for star, arg in (("*", a.vararg), ("**", a.kwarg)) if arg]
    return {*given, *starred, *(arg.arg for arg in a.kwonlyargs)}


def public_functions(folder):
    """Yield (dotted name, arguments, docstring) of public functions, methods and constructors."""
    for path in sorted(folder.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        blocks = [(module, ast.parse(path.read_text()), False)]
        for owner, block, is_class in blocks:
            for node in block.body:
                name = f"{owner}.{getattr(node, 'name', '')}"
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    blocks.append((name, node, True))
                elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
                    yield owner, arguments_of(node, True), ast.get_docstring(block)
                elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    yield name, arguments_of(node, is_class), ast.get_docstring(node)


@pytest.mark.parametrize("folder", ["pvm_perception", "scripts"])
def test_functions_of_several_arguments_explain_each(folder):
    """In a numpydoc section, or by `see `Protocol.method`` where another function's section does."""
    explained, asked, references = {}, {}, {}
    for name, arguments, doc in public_functions(ROOT / folder):
        section = re.search(
            r"^Parameters\n-+\n(.*?)(\n\n\S[^\n]*\n---|\Z)", doc or "", re.DOTALL | re.MULTILINE
        )
        names = re.findall(r"^\S.*", section[1] if section else "", re.MULTILINE)
        explained[name] = {one.strip() for line in names for one in line.split(" : ")[0].split(",")}
        assert explained[name] <= arguments, f"{name} explains arguments that it does not take"
        asked[name] = arguments if len(arguments) > 1 else set()
        references[name] = re.findall(r"[Ss]ee `([\w.]+)`", doc or "")
    missing = {}
    for name, arguments in asked.items():
        known = set(explained[name])
        for reference in references[name]:
            for other in (other for other in explained if f".{other}".endswith(f".{reference}")):
                known |= explained[other]
        if left := {argument for argument in arguments if not {argument, argument.lstrip("_")} & known}:
            missing[name] = sorted(left)
    assert not missing, f"{len(missing)} functions do not explain arguments: {missing}"


@pytest.mark.parametrize(("wish", "threads"), [(None, 1), ("2", 2)])
def test_products_run_on_one_thread_unless_the_variable_says_otherwise(wish, threads):
    """The variable acts only before NumPy loads, however the package is imported."""
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    env |= {"OPENBLAS_NUM_THREADS": wish} if wish else {}
    code = (
        "import pvm_perception, numpy, threadpoolctl; print(max(p['num_threads'] for p in "
        "threadpoolctl.threadpool_info() if p['user_api'] == 'blas'))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(process.stdout) == min(threads, os.cpu_count())


def test_a_tracker_keeps_to_one_thread_in_a_program_that_has_more():
    """NumPy is loaded first here, so the variable comes too late; afterwards all is as before."""
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    code = """
import numpy as np
from threadpoolctl import threadpool_info
from pvm_perception import Tracker
def threads():
    return max(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")
before, tracker, inside = threads(), Tracker(), []
see = tracker._perception.whole.see
tracker._perception.whole.see = lambda *args, **more: (inside.append(threads()), see(*args, **more))[1]
tracker.update(np.zeros((48, 64, 3), np.uint8))
print(before, inside[0], threads())
"""
    process = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, inside, after = map(int, process.stdout.split())
    assert inside == 1
    assert after == before


def test_everything_that_is_launched_is_installed():
    text = (ROOT / "setup.py").read_text()
    for folder in ("launch", "config", "worlds", "models", "rviz"):
        assert f'glob("{folder}/*' in text
