"""Write the software bill of materials, CycloneDX 1.6: what is in .venv, this package, the shipped model.

Run by `make sbom` in an environment of its own, so that its tools are not among what is listed.
Usage: build/sbom/bin/python scripts/sbom.py build/sbom.cdx.json
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models" / "robot.safetensors"


def installed(python: Path) -> dict:
    """Return the bill of an environment: packages, versions, licences, who needs whom."""
    done = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", str(python)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def describe(bill: dict) -> dict:
    """Return the bill with what it is of, and with the shipped model."""
    package = ET.parse(ROOT / "package.xml").getroot()
    name, version = package.findtext("name"), package.findtext("version")
    licence = {"license": {"id": package.findtext("license")}}
    bill["metadata"]["component"] = {
        "type": "application",
        "bom-ref": name,
        "name": name,
        "version": version,
        "description": package.findtext("description").strip(),
        "licenses": [licence],
    }
    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    bill["components"].append(
        {
            "type": "machine-learning-model",
            "bom-ref": "model",
            "name": MODEL.name,
            "version": version,
            "licenses": [licence],
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }
    )
    needed = {ref for row in bill["dependencies"] for ref in row.get("dependsOn", ())}
    roots = sorted(c["bom-ref"] for c in bill["components"] if c["bom-ref"] not in needed)
    bill["dependencies"] += [{"ref": "model"}, {"ref": name, "dependsOn": roots}]
    return bill


def main(output: Path) -> int:
    """Write the bill once it is checked against CycloneDX's schema."""
    text = json.dumps(describe(installed(ROOT / ".venv" / "bin" / "python")), indent=1)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        print(f"sbom: error: what was made is no CycloneDX 1.6: {wrong}", file=sys.stderr)
        return 1
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text + "\n", encoding="utf-8")
    print(f"{output}: {len(json.loads(text)['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/sbom.cdx.json")))
