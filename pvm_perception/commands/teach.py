"""`teach`: show a model new targets, or improve it with labelled frames of the user's own robot."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pvm_perception.commands.arguments import add_device
from pvm_perception.errors import PvmError, warn

if TYPE_CHECKING:
    from collections.abc import Collection

    from pvm_perception.living.moments import MomentMemory
    from pvm_perception.training.teach import Lesson

USE = "use it with --model, or as the node's parameter `model`"
EXAMPLE = "python -m pvm_perception teach --data my_frames --output my_model.safetensors --minutes 30"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=(),
        metavar="DIR",
        help="labelled sequences (frames and groundtruth.csv), or folders of them",
    )
    parser.add_argument("--output", type=Path, required=True, help="model file to write")
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="MODEL",
        help="model file to start from (default: the shipped one)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=30.0,
        help="minutes of training of the targets that the model was trained for; the assessments before and "
        "after take some more. 0 = none: all targets, known or new, are shown in up to 20 of their boxes, "
        "which takes seconds and leaves what is known as it is. New targets are always shown",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        help="folder of photographs for backgrounds of generated scenes, as `make train-data` collects them "
        "(default: all are painted)",
    )
    parser.add_argument(
        "--memory",
        type=Path,
        metavar="DIR",
        help="folder of moments that the node or `track --memory` keeps: their pictures show what a new "
        "target is not, so that less is mistaken for it there (default: none)",
    )
    add_device(parser)
    parser.add_argument(
        "--forget",
        nargs="+",
        default=(),
        metavar="TARGET",
        help="names of shown targets to remove from the model (default: none)",
    )
    parser.add_argument(
        "--force", action="store_true", help="write the model even where it is no better than before"
    )


def run(args: argparse.Namespace) -> int:
    """Teach; the marks before and after go to the terminal, the model where it shall."""
    from pvm_perception.evaluation.evaluate import sequences
    from pvm_perception.shipped import default_model
    from pvm_perception.training.show import boxes_by_target
    from pvm_perception.training.teach import check_sequences, teach

    if not 0 <= args.minutes < math.inf:
        raise PvmError("--minutes must be 0 or more")
    if not (args.data or args.forget):
        raise PvmError("nothing to do: give --data with labelled frames, or --forget with a target's name")
    folders = [folder for data in args.data for folder in sequences(data)]
    start = args.start or default_model()
    if args.forget or not args.minutes:
        return _show(start, folders, args)
    parts = check_sequences(folders)
    print(
        f"{parts.learnt + parts.held_out} labelled frames in {len(folders)} sequences: "
        f"{parts.learnt} to learn from, {parts.held_out} held out, of which {parts.with_target} show "
        "a target",
        flush=True,
    )
    if parts.doubt():
        warn(parts.doubt())
    _check_writable(args.output)
    lesson = teach(folders, start, args.minutes, args.photos, args.device)
    _print(lesson)
    failures = lesson.failures()
    if failures and not args.force:
        candidate = args.output.with_name(f"{args.output.stem}.candidate{args.output.suffix}")
        lesson.save(candidate)
        print(
            f"pvm_perception: {args.output} is not written: {' and '.join(failures)}; more or more varied "
            "frames or more --minutes may help, --force writes it anyway. What was learnt is kept in "
            f"{candidate}",
            file=sys.stderr,
        )
        return 1
    lesson.save(args.output)
    if any(t not in lesson.config.targets for t in boxes_by_target(folders, some=False)):
        return _show(args.output, folders, args, lesson.config.targets)
    print(f"{args.output} written; {USE}")
    return 0


def _check_writable(output: Path) -> None:
    """Raise PvmError where a file cannot be written: now, not after the training."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.open("ab").close()
        if not output.stat().st_size:
            output.unlink()
    except OSError as error:
        raise PvmError(f"{output} cannot be written: {error.strerror}") from error


def _show(start: Path, folders: list[Path], args: argparse.Namespace, leave_out: Collection[str] = ()) -> int:
    """Forget and show targets, then write the model."""
    from pvm_perception.api import Tracker
    from pvm_perception.core.model_file import read_header
    from pvm_perception.training.show import show

    _check_writable(args.output)
    tracker = Tracker(read_header(start)["config"].targets, start, args.device)
    if args.memory:
        tracker.place = _memory(args.memory).pictures
    for target in args.forget:
        tracker.forget(target)
    for target, boxes in show(tracker, folders, leave_out).items() if folders else ():
        print(f"{target}: shown in {boxes} {'box' if boxes == 1 else 'boxes'}")
    tracker.save(args.output)
    print(f"{args.output} written, knows {', '.join(tracker.known_targets)}; {USE}")
    return 0


def _memory(folder: Path) -> MomentMemory:
    """Return the moments of a folder; raise PvmError where it holds none."""
    from pvm_perception.living.moments import MomentMemory

    memory = MomentMemory(folder) if folder.is_dir() else ()
    if not memory:
        raise PvmError(
            f"no moments in {folder}: give --memory a folder that the node or `track --memory` filled"
        )
    return memory


def _print(lesson: Lesson) -> None:
    """Print every mark before and after."""
    before, after = lesson.before, lesson.after
    print(f"{'':14}{'target':12}{'measure':15}{'before':>8}{'after':>8}")
    lines = [
        ("held out", t, name, before.held_out[t][name], after.held_out[t][name])
        for t in before.held_out
        for name in before.held_out[t]
    ]
    lines += [
        ("generated", t, name, getattr(before.generated, name)[t], getattr(after.generated, name)[t])
        for t in before.generated.auc
        for name in ("auc", "presence_f1")
    ]
    lines += [
        ("held out", "", "mark", before.held_out_mark, after.held_out_mark),
        ("generated", "", "mark", before.generated_mark, after.generated_mark),
    ]
    for where, target, name, old, new in lines:
        if not math.isnan(old):
            print(f"{where:14}{target:12}{name.replace('_', ' '):15}{old:8.3f}{new:8.3f}")
