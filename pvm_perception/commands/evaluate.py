"""`evaluate`: a model on labelled sequences."""

from __future__ import annotations

import argparse
import csv
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from pvm_perception.commands.arguments import add_tracker
from pvm_perception.errors import PvmError, writing
from pvm_perception.evaluation.identity import HOW, installed

if TYPE_CHECKING:
    from pvm_perception.evaluation.evaluate import Result

EXAMPLE = "python -m pvm_perception evaluate --data data/real --output build/evaluate"
COLUMNS = (
    "auc",
    "precision_20px",
    "normalised_precision",
    "lt_precision",
    "lt_recall",
    "lt_f",
    "presence_f1",
    "false_alarms",
    "streaming_auc",
    "ms_per_frame",
)
SHORT = ("AUC", "P20", "nP", "LT-P", "LT-R", "LT-F", "pres.F1", "alarms", "stream", "ms")
BOX_COLUMNS = (
    "precision_50",
    "recall_50",
    "ap_50",
    "false_boxes",
    "stray_boxes",
    "stray_frames",
    "hota",
    "mota",
    "idf1",
    "id_switches",
    "start_px",
    "first_px",
)
BOX_SHORT = (
    "prec.50",
    "recall50",
    "AP50",
    "false/fr",
    "stray/fr",
    "stray fr",
    "HOTA",
    "MOTA",
    "IDF1",
    "switches",
    "start px",
    "first px",
)
OURS = "pvm_perception"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="a labelled sequence (frames and groundtruth.csv), or a folder of them",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/evaluate"),
        help="folder to write tables (results, forecast) and pictures (report, false_boxes) to",
    )
    add_tracker(parser, "score")
    parser.add_argument(
        "--learn",
        action="store_true",
        help="learn to foresee the next picture within each sequence; the model file stays as it is",
    )
    parser.add_argument(
        "--no-report", action="store_true", help="write tables only, no pictures (default: both)"
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="also run other trackers and detectors on the same frames; writes peers.csv, "
        "peers.png and a contact sheet of each sequence in sheets/",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate; the table goes to the terminal, everything to the output folder."""
    if not args.peers:
        return _evaluate(args)
    from pvm_perception.evaluation.machine import on_cores

    with on_cores(1):  # times are compared: one core for everybody
        return _evaluate(args)


def _evaluate(args: argparse.Namespace) -> int:
    from pvm_perception.api import Tracker
    from pvm_perception.bar import Bar
    from pvm_perception.errors import warn
    from pvm_perception.evaluation.evaluate import evaluate_sequence, is_stills, sequences, summary
    from pvm_perception.evaluation.forecast import Forecasts
    from pvm_perception.evaluation.forecast import means as forecast_means
    from pvm_perception.streams.files import FolderStream

    def make_tracker() -> Tracker:
        return Tracker(args.targets, args.model, args.device, args.learn)

    folders = sequences(args.data)
    notice = make_tracker().notice  # a bad model fails before any work
    if notice:
        warn(notice)
    total = sum(FolderStream(f).length for f in folders)  # and bad labels, too
    results, foreseen = [], []
    with Bar(total=total, unit="frame") as bar:
        for folder in folders:
            # where times are compared, nothing else runs between two frames
            forecasts = None if args.peers or is_stills(folder) else Forecasts()
            results += evaluate_sequence(folder, make_tracker, bar.update, forecasts)
            foreseen += forecasts.rows(folder.name) if forecasts else []
    foreseen += forecast_means(foreseen) if foreseen else []
    rows, means = [r.row() for r in results], summary(results)
    _print(rows, means)
    if foreseen:
        print_forecasts(foreseen)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "results.json").write_text(
            json.dumps(
                {"model": str(args.model or "shipped"), "sequences": rows, "means": means}, indent=1
            ).replace("NaN", "null")
            + "\n",
            encoding="utf-8",
        )
        write_csv(args.output / "results.csv", rows)
        write_csv(args.output / "means.csv", [{"target": t} | mean for t, mean in means.items()])
        if foreseen:
            write_csv(args.output / "forecast.csv", foreseen)
    except OSError as error:
        raise PvmError(f"{args.output} cannot be written: {error.strerror}") from error
    if not args.no_report:
        from pvm_perception.evaluation.gallery import draw_false_boxes
        from pvm_perception.evaluation.report import draw_report

        where = {f.name: f for f in folders}
        draw_report(results, where, args.output / "report.png")
        draw_false_boxes(results, where, args.output / "false_boxes.jpg")
    print(
        f"results.json, results.csv, means.csv{', forecast.csv' if foreseen else ''}"
        f"{'' if args.no_report else ', report.png, false_boxes.jpg'} in {args.output}"
    )
    if args.peers:
        _peers(args, folders, results)
    return 0


def _peers(args: argparse.Namespace, folders: list[Path], ours: list[Result]) -> None:
    """Run the peers; print a row for each method and target, write sequences and means."""
    from pvm_perception.bar import Bar
    from pvm_perception.evaluation.evaluate import summary
    from pvm_perception.evaluation.peer_process import HOW
    from pvm_perception.evaluation.peers import PEERS, run_peer

    ready = {name: peer for name, peer in PEERS.items() if peer.installed}
    methods = {OURS: ours}
    with Bar(total=len(ready) * len(folders), unit="run") as bar:
        for name, peer in ready.items():
            methods[name] = []
            for folder in folders:
                bar.set_postfix_str(f"{name}, {folder.name}")
                methods[name] += run_peer(peer, folder, args.targets, lambda: bar.update(0))
                bar.update()
    groups, rows = {f.name: f.parent.name for f in folders}, []
    means = {name: summary(results) for name, results in methods.items()}
    for name, results in methods.items():
        first = {"method": name, "given_first_box": int(name in PEERS and PEERS[name].given)}
        lines = [{**first, "group": groups[r.sequence], **r.row()} for r in results]
        lines += [
            {
                **first,
                "group": "",
                "sequence": "mean",
                "target": target,
                "frames": "",
                "with_target": "",
                **mean,
            }
            for target, mean in means[name].items()
        ]
        rows += [{k: v for k, v in line.items() if not k.endswith("_error")} for line in lines]
    print()
    _print_peers(methods, means, groups)
    try:
        write_csv(args.output / "peers.csv", rows)
    except OSError as error:
        raise PvmError(f"{args.output} cannot be written: {error.strerror}") from error
    if not args.no_report:
        from pvm_perception.evaluation.report import draw_peers, draw_sheet

        draw_peers(methods, args.output / "peers.png")
        sheets = args.output / "sheets"
        sheets.mkdir(exist_ok=True)
        for folder in folders:
            draw_sheet(methods, folder, sheets / f"{folder.name}.jpg")
    print(f"peers.csv{'' if args.no_report else ', peers.png, sheets/'} in {args.output}")
    if len(ready) < len(PEERS):
        print(f"left out: {', '.join(n for n in PEERS if n not in ready)}; {HOW}")


def _print_peers(
    methods: dict[str, list[Result]], means: dict[str, dict[str, dict[str, float]]], groups: dict[str, str]
) -> None:
    """Print the means over sequences, and the AUC by the folder that sequences lie in."""
    from pvm_perception.evaluation.evaluate import summary
    from pvm_perception.evaluation.peers import PEERS

    names = sorted(set(groups.values()))
    names = names if len(names) > 1 else []
    columns = ("auc", "late_auc", "streaming_auc", "lt_f", "presence_f1", "false_alarms", "ms_per_frame")
    print(
        f"{'method':15}{'target':11}{'sequences':>9}"
        + "".join(
            f"{s:>9}"
            for s in (
                "AUC",
                "ours",
                *(n[:8] for n in names),
                "late",
                "stream",
                "LT-F",
                "pres.F1",
                "alarms",
                "ms",
            )
        )
    )
    for target in dict.fromkeys(r.target for results in methods.values() for r in results):
        for name, results in methods.items():
            mean = means[name].get(target)
            star = "*" if name in PEERS and PEERS[name].given else ""
            with_target = [r for r in results if r.target == target and any(s.present for s in r.shots)]
            parts = [
                summary(r for r in with_target if groups[r.sequence] == n)
                .get(target, {})
                .get("auc", float("nan"))
                for n in names
            ]
            run = {r.sequence for r in results}
            same = summary(r for r in methods[OURS] if r.target == target and r.sequence in run)
            parts = [same.get(target, {}).get("auc", float("nan")), *parts]
            cells = [mean[c] if mean else float("nan") for c in columns]
            print(
                f"{name + star:15}{target:11}{len(with_target):9}"
                + "".join(map(_cell, [cells[0], *parts, *cells[1:]]))
            )
    print(
        "sequences: those with the target; the false alarms are of all\n"
        f"ours: the AUC of {OURS} on the sequences that the method ran on\n"
        "*: given the true box on the first frame with the target; not run on stills, nor on "
        "sequences without the target\n"
        "late: the AUC of each frame's boxes against the truth one frame later; stream: of the boxes "
        f"forecast for that moment, by {OURS} itself, else by a constant-velocity Kalman filter\n"
        f"ms: one core; {OURS}, NanoDet and CenterNet find both targets in it, the others one"
    )


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write the rows with four digits; what a row does not define or does not have stays blank.

    Parameters
    ----------
    path
        The file, which is written over.
    rows
        Values by column; columns stand in the order in which they first come.

    Raises
    ------
    PvmError
        If the file cannot be written.
    """
    columns = dict.fromkeys(name for row in rows for name in row)
    with writing(path), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {
                    k: ("" if math.isnan(v) else f"{v:.4f}") if isinstance(v, float) else v
                    for k, v in row.items()
                }
            )


def _print(rows: list[dict], means: dict[str, dict[str, float]]) -> None:
    wide = max(len(r["sequence"]) for r in rows) + 1
    for columns, short, last in ((COLUMNS, SHORT, "mean"), (BOX_COLUMNS, BOX_SHORT, "all")):
        print(
            f"{'sequence':{wide}} {'target':11}{'frames':>7}{'with':>6}" + "".join(f"{s:>9}" for s in short)
        )
        for r in rows:
            print(
                f"{r['sequence']:{wide}} {r['target']:11}{r['frames']:7}{r['with_target']:6}"
                + "".join(_cell(r[c]) for c in columns)
            )
        for target, mean in means.items():
            print(f"{last:{wide}} {target:11}{'':13}" + "".join(_cell(mean[c]) for c in columns))
        print()
    print(
        "precision, recall, average precision, false boxes: of all boxes, at overlap 0.5; stray: touches "
        "no target\nfirst px: longer side, source px, at the first right box of a target that comes near; "
        "start px: when it came into view" + ("" if installed() else f"\n{HOW}")
    )


def print_forecasts(rows: list[dict]) -> None:
    """Print each sequence's ratios of `evaluation.forecast`, horizons side by side."""
    names = ("forecast", "flow", "copy_or_flow")
    horizons = list(dict.fromkeys(r["horizon"] for r in rows))
    wide = max(len(r["sequence"]) for r in rows) + 1
    print(
        f"{'error over that of copying':{wide}}"
        + "".join(f"{f'frames ahead: {h}':>27}" for h in horizons)
        + "   on the target"
    )
    print(
        " " * wide
        + "".join(f"{n:>9}" for _ in horizons for n in ("forecast", "flow", "better"))
        + f"{'first':>9}{'top 3':>9}"
    )
    for name in dict.fromkeys(r["sequence"] for r in rows):
        mine = [r for r in rows if r["sequence"] == name]
        print(
            f"{name:{wide}}"
            + "".join(_cell(r[n]) for r in mine for n in names)
            + "".join(_cell(mine[0][n]) for n in ("pop_out_1", "pop_out_3"))
        )


def _cell(value: float) -> str:
    return f"{'–':>9}" if math.isnan(value) else f"{value:9.3f}" if value < 100 else f"{value:9.1f}"
