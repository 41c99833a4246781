"""The names and the signatures that an installed CuPy has, as cupy_names.txt lists them."""

import inspect
import re

import numpy as np


def _listed(signature):
    names, starred = [], False
    for p in signature.parameters.values():
        mark = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        if p.kind is p.KEYWORD_ONLY and not starred:
            names.append("*")
        starred = starred or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        names.append(mark + p.name)
    return ", ".join(names)


def _entry(name, thing):
    if isinstance(thing, type) or not callable(thing):
        return name
    if hasattr(thing, "nin") and type(thing).__name__ == "ufunc":
        inputs = [f"x{i + 1}" for i in range(thing.nin)]
        return f"{name}({', '.join([*inputs, 'out', '*', 'casting', 'dtype'])})"
    try:
        return f"{name}({_listed(inspect.signature(thing))})"
    except (TypeError, ValueError):  # a compiled method tells its parameters in its first line
        found = re.match(r"[\w.]+\((.*?)\)(?: ->|$)", (thing.__doc__ or "").splitlines()[0])
        names = [p.split("=")[0].split()[-1] for p in found[1].split(",") if p.strip()] if found else []
        return f"{name}({', '.join(names[1:])})"


def listing():
    """Return the lines of `cupy_names.txt` for the CuPy that is installed."""
    import cupy

    lines = [
        f"# Public names of CuPy {cupy.__version__} that NumPy has, too, with their parameters; made by",
        "# python test/cupy_listing.py > test/cupy_names.txt",
    ]
    lines += [
        _entry(n, getattr(cupy, n))
        for n in sorted(dir(cupy))
        if n[0] != "_" and hasattr(np, n) and not inspect.ismodule(getattr(cupy, n))
    ]
    return lines + [
        _entry(f"ndarray.{n}", getattr(cupy.ndarray, n)) for n in sorted(dir(cupy.ndarray)) if n[0] != "_"
    ]


if __name__ == "__main__":
    print("\n".join(listing()))
