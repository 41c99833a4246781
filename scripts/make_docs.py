"""Write config/*.yaml and the generated parts of the documentation from the nodes' settings.

Usage: .venv/bin/python scripts/make_docs.py
"""

from __future__ import annotations

import re
from pathlib import Path

from pvm_perception.ros.node_settings import NODES

ROOT = Path(__file__).resolve().parent.parent


def filled(text: str) -> str:
    """Return a page with what lies between its marks, `<!-- parameters NODE -->`, made anew."""
    for name, parameters in NODES.items():
        for mark, part in (("parameters", parameters.markdown_table()),
                           ("yaml", f"```yaml\n{parameters.yaml_file()}```\n")):
            text = re.sub(rf"(<!-- {mark} {name} -->\n).*?(<!-- /{mark} -->)",
                          lambda m, part=part: m[1] + part + m[2], text, flags=re.DOTALL)
    return text


def main() -> None:
    """Write what has changed."""
    for name, parameters in NODES.items():
        (ROOT / "config" / f"{name}.yaml").write_text(parameters.yaml_file(), encoding="utf-8")
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
