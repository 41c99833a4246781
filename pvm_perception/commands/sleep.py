"""`sleep`: learn from a memory of moments, under an exam that may say no."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from pvm_perception.errors import PvmError

EXAMPLE = "python -m pvm_perception sleep --memory ~/.ros/moments --minutes 10"
EVERY = 3.0  # s between two lines of progress where the output is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--memory",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of moments, as the node's parameter `memory` or `track --memory` fills it",
    )
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="minutes of learning; the exam takes some more"
    )
    parser.add_argument(
        "--model",
        type=Path,
        help="model file to begin with (default: the newest that sleeps made of this memory, else the "
        "shipped one)",
    )
    parser.add_argument(
        "--base",
        type=Path,
        help="model file that the first sleep began with; models of other origin are left alone "
        "(default: the shipped one)",
    )
    parser.add_argument("--output", type=Path, help="model file to write (default: a new one in DIR/models)")
    parser.add_argument(
        "--scenes", type=int, default=24, help="painted scenes of the exam, each twelve frames at 640x480"
    )


def run(args: argparse.Namespace) -> int:
    """Sleep; return 1 where nothing passed the exam."""
    from tqdm import tqdm

    from pvm_perception.living.sleep import OUTCOME, SleepOptions, sleep
    from pvm_perception.signals import Stop

    if not args.minutes > 0 or args.scenes < 1:
        raise PvmError("--minutes must be above 0 and --scenes at least 1")
    if not args.memory.is_dir():
        raise PvmError(f"no memory at {args.memory}")
    bar = tqdm(total=100, unit="%", disable=None)
    shown = [0.0]

    def progress(what: str, share: float) -> None:
        if not bar.disable:
            bar.set_description(what)
            bar.n = round(100 * share)
            bar.refresh()
        elif time.monotonic() - shown[0] >= EVERY:
            shown[0] = time.monotonic()
            print(f"sleep: {what}, {100 * share:.0f} %", flush=True)

    with Stop(impatient=True) as stop:
        outcome = sleep(
            SleepOptions(args.memory, args.minutes, args.model, args.base, args.output, args.scenes),
            progress,
            stop.is_set,
        )
    bar.close()
    for name, before in outcome.before.items():
        print(f"  {name:28} {before:8.3f} {outcome.after[name]:8.3f}")
    print(f"{OUTCOME}{outcome.words()}", flush=True)
    if outcome.path is None:
        print("pvm_perception: not written: nothing passed the exam", file=sys.stderr)
        return 1
    print(f"sleep: {outcome.path} written", flush=True)
    return 0
