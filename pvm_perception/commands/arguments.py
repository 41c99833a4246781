"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

from pvm_perception.core.backend import DEVICES
from pvm_perception.types import TARGETS


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add where the network runs."""
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default="cpu",
        help="where the network runs; auto = an NVIDIA GPU where one answers, else the CPU",
    )


def add_tracker(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add what a tracker is made of: targets, model, device.

    Parameters
    ----------
    parser
        Of the command.
    purpose
        What the command does with the targets, a verb.
    """
    parser.add_argument(
        "--targets",
        nargs="+",
        default=list(TARGETS),
        help=f"names of the targets to {purpose}, of those that the model knows",
    )
    parser.add_argument("--model", type=Path, help="model file (default: the shipped one)")
    add_device(parser)
