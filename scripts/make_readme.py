"""Write config/tracker.yaml and the generated parts of README.md from the settings.

Usage: .venv/bin/python scripts/make_readme.py
"""

from __future__ import annotations

import re
from pathlib import Path

from pvm_perception.ros.parameters import markdown_table, yaml_file

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Replace what lies between the marks."""
    (ROOT / "config" / "tracker.yaml").write_text(yaml_file(), encoding="utf-8")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    parts = {"parameters": markdown_table(), "yaml": f"```yaml\n{yaml_file()}```\n"}
    for name, part in parts.items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
                      lambda m, part=part: m[1] + part + m[2], text, flags=re.DOTALL)
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
