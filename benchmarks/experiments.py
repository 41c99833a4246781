"""The two experiments of the paper (arXiv 1607.06854), small: what labels, and what unlabelled frames, bring.

Experiment 2: layers learn without labels, from growing amounts of frames, each amount going on from the one
before; after each they stay as they are, and a readout learns alone, always from the same labelled frames.
Without any unlabelled frame the layers are as they were drawn. Experiment 1: readout and layers learn
together, from as many frames as the longest run of experiment 2 saw, all of them labelled. Readouts are
scored on validation clips (no tracker, one look a frame). What is in the table, or was learnt to its end in
the working folder, is not done again: a run that was stopped goes on, and another one may add amounts.
Usage: .venv/bin/python benchmarks/experiments.py [--preset NAME] [--video DIR ...] [--photos DIR]
       [--output FILE]
"""

from __future__ import annotations

import argparse
import csv
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.config import PRESETS, preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.training.train import Trainer, TrainOptions

DAY = 24.0  # hours: frames end a run, not the clock
NEVER = 1e9  # seconds between validations: there is one at the end


class Table:
    """The rows of both experiments, in a file that is written after each.

    Parameters
    ----------
    path
        Of the file; the rows of one that is there stay.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._rows = path, []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self._rows = list(csv.DictReader(file))

    def fill(self, experiment: int, unlabelled: int, labelled: int, options: TrainOptions) -> None:
        """Train as the options say and write a row, unless the table has it.

        Parameters
        ----------
        experiment
            Of the paper, 1 or 2.
        unlabelled, labelled
            Frames that the layers, and the readout, have learnt from when this run is over.
        options
            Of the run.
        """
        row: dict[str, Any] = {
            "preset": options.network,
            "experiment": experiment,
            "unlabelled_frames": unlabelled,
            "labelled_frames": labelled,
        }
        if any(all(old[name] == str(value) for name, value in row.items()) for old in self._rows):
            return
        trainer = Trainer(options)
        found = trainer.run()
        scores = found.row() if found else {}
        row |= {k: f"{v:.4f}" for k, v in scores.items()} | {"seconds": round(trainer.history["seconds"])}
        print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
        self._rows.append(row)
        write_csv(self._path, self._rows)


def drawn_layers(options: TrainOptions, path: Path) -> Path:
    """Write a model of the options' preset as it is drawn, untrained; return its path."""
    config = preset(options.network)
    save_model(path, config, Hierarchy(config, seed=options.seed, learns=False).weights, {})
    return path


def learnt(options: TrainOptions, frames: int) -> Path:
    """Return the model that learnt as the options say, from so many frames in all; learn it if need be."""
    path = options.output / "model.safetensors"
    if not (path.exists() and load_model(path)[2]["frames"] >= frames):
        Trainer(options).run()
    return path


def from_first_clip(model: Path, path: Path) -> Path:
    """Write a model whose next run begins with its seed's first clip; return its path."""
    config, weights, history = load_model(model)
    save_model(path, config, weights, history | {"clips": 0})
    return path


def experiments(base: TrainOptions, amounts: list[int], labelled: int, output: Path) -> None:
    """Run both experiments, what of them is not yet done.

    Parameters
    ----------
    base
        What all runs have in common; its output is a folder for all of them.
    amounts
        Unlabelled frames, growing.
    labelled
        Labelled frames that each readout of experiment 2 learns from.
    output
        The table.
    """
    table, folder = Table(output), base.output
    folder.mkdir(parents=True, exist_ok=True)
    layers, seen = drawn_layers(base, folder / "drawn.safetensors"), 0
    # scenes of another seed: no layer has seen them
    labels = replace(base, video=(), shares=(), seed=base.seed + 1, frames=labelled)
    for amount in amounts:
        if amount > seen:
            codes = replace(base, learns="codes", frames=amount - seen, start=layers)
            layers = learnt(replace(codes, output=folder / f"codes_{amount}", validation_clips=16), amount)
            seen = amount
        start = from_first_clip(layers, folder / f"layers_{amount}.safetensors")
        alone = replace(labels, learns="readout", start=start, output=folder / f"readout_{amount}")
        table.fill(2, amount, labelled, alone)
    together = replace(
        labels, frames=seen + labelled, start=folder / "drawn.safetensors", output=folder / "together"
    )
    table.fill(1, 0, seen + labelled, together)


def main() -> None:
    """Run both experiments of a preset and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="robot", help="the network (default: robot)"
    )
    parser.add_argument(
        "--unlabelled",
        type=int,
        nargs="+",
        default=[0, 10_000, 40_000, 160_000],
        help="frames that the layers learn from without labels (default: %(default)s)",
    )
    parser.add_argument(
        "--labelled",
        type=int,
        default=20_000,
        help="frames that a readout learns from (default: %(default)s)",
    )
    parser.add_argument(
        "--video", type=Path, nargs="+", default=[], help="real video, half of what is unlabelled"
    )
    parser.add_argument("--photos", type=Path, help="folder of photographs for the scenes' backgrounds")
    parser.add_argument("--clips", type=int, default=160, help="validation clips (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of weights and scenes (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("build/experiments"), help="folder for the models")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/experiments.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    base = TrainOptions(
        args.work / args.preset,
        hours=DAY,
        network=args.preset,
        photos=args.photos,
        video=tuple(args.video),
        shares=(("video", 0.5),) if args.video else (),
        seed=args.seed,
        validate_every=NEVER,
        validation_clips=args.clips,
        calibration_scenes=0,
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    experiments(base, sorted(args.unlabelled), args.labelled, args.output)


if __name__ == "__main__":
    main()
