"""`evaluate`: a model on labelled sequences."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from pvm_perception.core.backend import DEVICES
from pvm_perception.errors import PvmError
from pvm_perception.types import TARGETS

EXAMPLE = "python -m pvm_perception evaluate --data data/real --output build/evaluate"
COLUMNS = ("auc", "precision_20px", "normalised_precision", "lt_precision", "lt_recall", "lt_f",
           "presence_f1", "false_alarms", "ms_per_frame")
SHORT = ("AUC", "P20", "nP", "LT-P", "LT-R", "LT-F", "pres.F1", "alarms", "ms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--data", type=Path, required=True,
                        help="a sequence, or a folder of them (frames and groundtruth.csv)")
    parser.add_argument("--output", type=Path, default=Path("build/evaluate"),
                        help="folder for results.json, results.csv and report.png")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), help="what to look for")
    parser.add_argument("--model", type=Path, help="model file instead of the shipped one")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where to run")
    parser.add_argument("--learn", action="store_true", help="go on learning within a sequence")
    parser.add_argument("--no-report", action="store_true", help="leave the picture out")


def run(args: argparse.Namespace) -> int:
    """Evaluate; the table goes to the terminal, everything to the output folder."""
    from tqdm import tqdm

    from pvm_perception.api import Tracker
    from pvm_perception.learning.evaluate import evaluate_sequence, sequences, summary
    from pvm_perception.streams.files import FolderStream

    def make_tracker() -> Tracker:
        return Tracker(args.targets, args.model, args.device, args.learn)

    folders = sequences(args.data)
    make_tracker()  # a bad model is told before any work
    total = sum(FolderStream(f).length for f in folders)  # and bad labels, too
    results = []
    with tqdm(total=total, unit="frame", disable=None) as bar:
        for folder in folders:
            results += evaluate_sequence(folder, make_tracker, bar.update)
    rows, means = [r.row() for r in results], summary(results)
    _print(rows, means)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "results.json").write_text(json.dumps(
            {"model": str(args.model or "shipped"), "sequences": rows, "means": means},
            indent=1).replace("NaN", "null") + "\n", encoding="utf-8")
        write_csv(args.output / "results.csv", rows)
    except OSError as error:
        raise PvmError(f"{args.output} cannot be written: {error.strerror}") from error
    if not args.no_report:
        from pvm_perception.learning.report import draw_report

        draw_report(results, {f.name: f for f in folders}, make_tracker,
                    args.output / "report.png")
    print(f"results.json, results.csv{'' if args.no_report else ', report.png'} in {args.output}")
    return 0


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write the rows with four digits; a measure that is not defined stays blank."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: ("" if v != v else f"{v:.4f}") if isinstance(v, float) else v
                             for k, v in row.items()})


def _print(rows: list[dict], means: dict[str, dict[str, float]]) -> None:
    wide = max(len(r["sequence"]) for r in rows) + 1
    print(f"{'sequence':{wide}} {'target':11}{'frames':>7}{'with':>6}"
          + "".join(f"{s:>9}" for s in SHORT))
    for r in rows:
        print(f"{r['sequence']:{wide}} {r['target']:11}{r['frames']:7}{r['with_target']:6}"
              + "".join(_cell(r[c]) for c in COLUMNS))
    for target, mean in means.items():
        print(f"{'mean':{wide}} {target:11}{'':13}" + "".join(_cell(mean[c]) for c in COLUMNS))
    errors = [(r["sequence"], r["prediction_error"], r["copy_error"]) for r in rows
              if r["prediction_error"] == r["prediction_error"]]
    for name, prediction, copy in dict.fromkeys(errors):
        print(f"{name:{wide}} prediction error {prediction:.5f}, copying the last frame {copy:.5f}")


def _cell(value: float) -> str:
    return f"{'–':>9}" if value != value else f"{value:9.3f}" if value < 100 else f"{value:9.1f}"
