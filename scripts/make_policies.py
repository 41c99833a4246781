"""Write the SROS 2 policies of our nodes from the interface snapshot: each may do what is in it, no more.

Usage: .venv/bin/python scripts/make_policies.py [--namespace /robot] [--remap image:=/camera/image_raw]...
       [--output config/sros2_policies.xml]
"""

from __future__ import annotations

import argparse
import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "test" / "interfaces.json"
OUTPUT = ROOT / "config" / "sros2_policies.xml"
NODES = {"tracker": "pvm_tracker", "follower": "target_follower", "guard": "stop_sign_guard"}
# what every node of rclpy has: parameters, log, time
SERVICES = (
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
    "get_type_description",
)
LIFECYCLE = (
    "change_state",
    "get_available_states",
    "get_available_transitions",
    "get_state",
    "get_transition_graph",
)
PUBLISHED, SUBSCRIBED = ("/parameter_events", "/rosout"), ("/clock", "/parameter_events")
# by how a rule is called in a policy: the element that holds it, and its key in the snapshot
RULES = {
    ("topics", "publish"): "publishers",
    ("topics", "subscribe"): "subscriptions",
    ("services", "reply"): "services",
    ("services", "request"): "clients",
    ("actions", "execute"): "actions",
    ("actions", "call"): "action_clients",
}
COMPRESSED = "compressed"  # the parameter `image_transport` moves the image there


def full_name(name: str, namespace: str, node: str, remaps: Mapping[str, str]) -> str:
    """Return a name as it is on the wire.

    Parameters
    ----------
    name
        As in the node's code: "image", "~/reset", "/diagnostics".
    namespace
        Of the node, from "/".
    node
        The node's own name.
    remaps
        Other names, by names as in the code.
    """
    name = remaps.get(name, name)
    if name.startswith("/"):
        return name
    private = name.startswith("~/")
    return "/".join((namespace.rstrip("/"), *([node] if private else []), name.removeprefix("~/")))


def rules(command: str, interface: Mapping[str, list[dict]]) -> dict[tuple[str, str], list[str]]:
    """Return what a node of the snapshot may do, names as in its code.

    Parameters
    ----------
    command
        Of the node, as in the snapshot.
    interface
        The snapshot of that node: rows with names, by kind.

    Returns
    -------
    dict
        Names by what may be done: ("topics", "publish") and the like.
    """
    found = {rule: [row["name"] for row in interface.get(key, ())] for rule, key in RULES.items()}
    found["topics", "publish"] += PUBLISHED
    found["topics", "subscribe"] += SUBSCRIBED
    if command == "tracker":
        found["topics", "subscribe"].append(f"image/{COMPRESSED}")
    lifecycle = "~/transition_event" in found["topics", "publish"]
    found["services", "reply"] += [f"~/{name}" for name in (*SERVICES, *(LIFECYCLE if lifecycle else ()))]
    return found


def policies(
    snapshot: Mapping[str, dict], namespace: str = "/", remaps: Mapping[str, str] | None = None
) -> ET.ElementTree:
    """Return the policies: an enclave for each node, named as it is.

    Parameters
    ----------
    snapshot
        What each node offers, as test/interfaces.json has it.
    namespace
        That the nodes run in.
    remaps
        Names as in the launch: from a node's own to others.
    """
    remaps = dict(remaps or {})
    if "image" in remaps:
        remaps.setdefault(f"image/{COMPRESSED}", f"{remaps['image']}/{COMPRESSED}")
    root = ET.Element("policy", version="0.2.0")
    enclaves = ET.SubElement(root, "enclaves")
    for command, interface in snapshot.items():
        node = NODES[command]
        enclave = ET.SubElement(enclaves, "enclave", path=f"{namespace.rstrip('/')}/{node}")
        profile = ET.SubElement(ET.SubElement(enclave, "profiles"), "profile", ns=namespace, node=node)
        for (kind, right), names in rules(command, interface).items():
            if names:
                group = ET.SubElement(profile, kind, {right: "ALLOW"})
                for name in sorted({full_name(n, namespace, node, remaps) for n in names}):
                    ET.SubElement(group, kind[:-1]).text = name
    ET.indent(root)
    return ET.ElementTree(root)


def main() -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--namespace", default="/", help="namespace that the nodes run in (default: %(default)s)"
    )
    parser.add_argument(
        "--remap",
        action="append",
        default=[],
        metavar="FROM:=TO",
        help="topic remapped as the launch does it, such as image:=/camera/image_raw; may be given several"
        " times",
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file to write (default: %(default)s)")
    args = parser.parse_args()
    if not args.namespace.startswith("/") or not all(":=" in remap for remap in args.remap):
        parser.error("--namespace begins with /, and --remap is FROM:=TO")
    tree = policies(
        json.loads(SNAPSHOT.read_text(encoding="utf-8")),
        args.namespace,
        dict(remap.split(":=", 1) for remap in args.remap),
    )
    tree.write(args.output, encoding="utf-8", xml_declaration=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
