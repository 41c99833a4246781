"""Whatever README and docs name exists: modules, commands, options, parameters, topics, files, links."""

import argparse
import ast
import importlib
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

from pvm_perception.__main__ import COMMANDS, NODES

PAGES = sorted(
    p for pattern in ("*.md", "models/*.md", "docs/*.md", "docs/history/*.md") for p in ROOT.glob(pattern)
)
# history names what was; all other pages name what is
CURRENT = [*(p for p in PAGES if p.parent.name != "history"), ROOT / "CHANGELOG.rst"]
CODE = {
    ".py",
    ".cpp",
    ".cu",
    ".h",
    ".yaml",
    ".xml",
    ".msg",
    ".sdf",
    ".sh",
    ".toml",
    ".cfg",
    ".txt",
    ".json",
    "",
}
FOREIGN = re.compile(  # commands of other tools, whose words are not ours to check
    r"(apt|colcon|git|rosdep|source|export|sudo|docker|ssh|nvidia-smi|ros2|pip|mpirun"
    r"|python3? -m (pip|venv))\b"
)
ELSEWHERE = {  # names of other software
    "Haswell",
    "taskset",
    "chrony",
    "kernel_cache",
    "image_rect",
    "aligned_depth_to_color",
    "follow_point",
    "goal_pose",
    "usb",
    "sros2",
    "keystore",
    "rmw_fastrtps",
    "rerun",
    "analytics",
    "details",
    "odls_base_sigkill_timeout",
    "mca",
    "ipc",
    "bloom",
    "catkin_generate_changelog",
}
SPAN = re.compile(r"(?<![`\w])(`{1,2})(?!`)(.+?)\1(?!`)", re.DOTALL)
OURS = re.compile(r"-m pvm_perception +([a-z]\w*)(.*)")


def slug(heading):
    """Return the anchor that GitHub gives a heading."""
    plain = re.sub(r"[`*\[\]]|\(http[^)]*\)", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def without_code(text):
    """Return a page without its code blocks and generated parts of YAML."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^(?: {4}|\t)(?![-*] ).*$", "", text, flags=re.MULTILINE)


@cache
def tracked():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = (
        done.stdout.split("\n")
        if done.returncode == 0
        else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if not {".venv", "build"} & set(p.parts)]
    )
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


@cache
def sources():
    """Return the text of all code, this file and documents left out."""
    files = [p for p in tracked() if p.suffix in CODE and p != Path(__file__)]
    return "\n".join(p.read_text(errors="ignore") for p in files if p.stat().st_size < 400_000)


@cache
def words():
    tables = "".join(p.read_text() for p in (ROOT / "benchmarks").glob("*.csv"))  # names of sequences
    return set(re.findall(r"[A-Za-z_]\w*", sources() + tables))


@cache
def options(command):
    """Return the options of a command, or those that a node takes."""
    if command in NODES:
        return {"--ros-args", "--help"}
    parser = argparse.ArgumentParser()
    importlib.import_module(f"pvm_perception.commands.{command}").add_arguments(parser)
    return {o for action in parser._actions for o in action.option_strings} | {"--help"}


@cache
def targets():
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def modules():
    """Return the names that each module of the package defines, by the module's short and dotted names."""
    found = {}
    for path in (ROOT / "pvm_perception").rglob("*.py"):
        dotted = ".".join(path.relative_to(ROOT / "pvm_perception").with_suffix("").parts)
        tree, names = ast.parse(path.read_text()), set()
        for node in ast.walk(tree):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
        for key in {dotted, dotted.rpartition(".")[2], dotted.removesuffix(".__init__")}:
            found.setdefault(key, set()).update(names)
    return found


def missing_of_dotted(span):
    """Return why `module.name` does not exist, None where it does, or is no such name."""
    head, _, name = span.rpartition(".")
    head = head.removeprefix("pvm_perception.")
    if head in modules() and name not in modules()[head] and f"{head}.{name}" not in modules():
        return f"module {head} has no {name}"
    return None


def missing_of_path(span, page):
    name = span.rstrip("/").removeprefix("share/pvm_perception/")
    if any((base / name).exists() for base in (ROOT, ROOT / "pvm_perception", page.parent)):
        return None
    if Path(name).stem in ELSEWHERE or any(str(p).endswith("/" + name) for p in tracked()):
        return None
    if name.startswith("build/") or (span != name and "/" not in name):  # a folder of output or input
        return None if set(re.findall(r"\w{3,}", Path(name).stem)) <= words() else "no code writes it"
    if Path(name).suffix not in {".csv", ".json", ".mp4", ".png", ".safetensors", ".mcap", ".rrd", ".html"}:
        return "no such file"
    written = re.sub(r"_\d+$", "", Path(name).stem)  # by the code: its names may be numbered
    return None if written in words() else "no such file, and no code writes it"


def missing_of_command(text):
    for command, rest in OURS.findall(text):
        if command not in COMMANDS:
            return f"no command {command}"
        if command in NODES:
            continue
        unknown = set(re.findall(r"(?<!\S)--[a-z][\w-]*", rest)) - options(command)
        if unknown:
            return f"command {command} has no {sorted(unknown)}"
    made = re.match(r"make ((?:[a-z][\w-]* ?)+)", text)
    if made and set(made[1].split()) - targets():
        return f"no target {sorted(set(made[1].split()) - targets())}"
    launched = re.search(r"\b([\w.]+\.launch\.py)\b", text)
    if launched and not (ROOT / "launch" / launched[1]).exists():
        return f"no launch file {launched[1]}"
    return None


def missing(span, page):
    """Return why what a span of code names does not exist; None where it does."""
    span = " ".join(span.split())
    if found := missing_of_command(span):
        return found
    if FOREIGN.match(span) or re.match(r"\.?[\w./]*python3? ", span):
        return None
    if re.fullmatch(
        r"[\w./-]+/|[\w./-]+\.(py|md|cu|cpp|h|csv|ya?ml|sh|json|xml|sdf|png|mp4|safetensors|sdf)", span
    ):
        return missing_of_path(span, page)
    inside = re.fullmatch(r"([\w-]+)/[\w/-]+", span)
    if inside and any((base / inside[1]).is_dir() for base in (ROOT, ROOT / "pvm_perception")):
        return missing_of_path(span + ".py", page) and missing_of_path(span, page)
    if re.fullmatch(r"[a-z_][\w.]*\.\w+", span) and (found := missing_of_dotted(span)):
        return found
    names = set(re.findall(r"(?<![\w$<])[A-Za-z_]\w{2,}\*?", re.sub(r"\{[^}]*\}|<[^>]*>|'[^']*'", "", span)))
    known = words() | ELSEWHERE
    unknown = {
        n
        for n in names
        if n not in known
        and n != n.upper()
        and not (n[-1] == "*" and any(w.startswith(n[:-1]) for w in known))
    }
    return f"no code has {sorted(unknown)}" if unknown else None


@pytest.mark.parametrize("page", CURRENT, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_page_names_exists(page):
    spans = [s for _, s in SPAN.findall(without_code(page.read_text()))]
    faults = {s: why for s in spans if (why := missing(s, page))}
    assert not faults, "\n".join(f"{s!r}: {why}" for s, why in faults.items())


@pytest.mark.parametrize("page", CURRENT, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_commands_that_a_page_shows_exist(page):
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    lines = [line.strip() for line in text.split("\n") if line.startswith(("    ", "\t", "make "))]
    faults = {line: why for line in lines if (why := missing_of_command(line))}
    assert not faults, faults


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ +(.*)$", file.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), target


@pytest.mark.parametrize(
    ("span", "why"),
    [
        ("model_file.with_motion_of_old", "has no with_motion_of_old"),
        ("core/gpu.py", "no such file"),
        ("core/gpu", "no such"),
        ("make paint", "no target"),
        ("python -m pvm_perception paint", "no command"),
        ("python -m pvm_perception track --colour red", "has no"),
        ("~/moods", "moods"),
        ("no_such_parameter", "no code"),
    ],
)
def test_what_does_not_exist_is_noticed(span, why):
    assert why in missing(span, ROOT / "README.md")


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130
