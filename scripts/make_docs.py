"""Write config/*.yaml and the generated parts of the documentation: nodes' settings, measured figures.

Usage: .venv/bin/python scripts/make_docs.py
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from pvm_perception.ros.node_settings import NODES

ROOT = Path(__file__).resolve().parent.parent
SCORES = {
    "auc": "success AUC",
    "lt_f": "VOT-LT F",
    "presence_f1": "presence F1",
    "false_alarms": "false alarms",
}
BOXES = {
    "precision_50": "precision",
    "recall_50": "recall",
    "ap_50": "AP",
    "false_boxes": "false boxes a frame",
    "hota": "HOTA",
    "idf1": "IDF1",
}
FIGURES = {  # the table of each file below benchmarks/: its columns and their titles
    "labelled_sequences": {
        "sequence": "sequence",
        "target": "target",
        "frames": "frames",
        "with_target": "with",
        **SCORES,
        "streaming_auc": "AUC one frame later",
        **BOXES,
        "id_switches": "id switches",
        "start_px": "px in view",
        "first_px": "px when found",
    },
    "labelled_means": {"target": "target", **SCORES, **BOXES},
    "forecast": {
        "sequence": "sequence",
        "horizon": "frames ahead",
        "forecast": "forecast",
        "flow": "flow",
        "copy_or_flow": "better of flow and copying",
        "moving_forecast": "forecast, moving frames",
        "moving_flow": "flow, moving frames",
        "pop_out_1": "first place",
        "pop_out_3": "top three",
    },
    "turns": {
        "motion": "odometry",
        "targets": "targets",
        "auc": "success AUC",
        "auc_later": "AUC one frame later",
        "found": "found",
        "switches_of_100": "id switches in 100 frames",
        "false_boxes": "false boxes a frame",
    },
    "evidence": {
        "source": "found in",
        "factor": "factor from",
        "to": "below",
        "candidates": "boxes",
        "right_0.03_0.1": "right, of score .03 to .1",
        "right_0.1_0.2": ".1 to .2",
        "right_0.2_0.35": ".2 to .35",
        "right_0.35_0.5": ".35 to .5",
        "right_0.5_0.7": ".5 to .7",
        "right_0.7_1.0": ".7 to 1",
    },
    "scores": {
        "target": "target",
        "side": "side from",
        "to": "below",
        "boxes": "boxes",
        "right_0.05_0.1": "right, of score .05 to .1",
        "right_0.1_0.2": ".1 to .2",
        "right_0.2_0.3": ".2 to .3",
        "right_0.3_0.4": ".3 to .4",
        "right_0.4_0.5": ".4 to .5",
        "right_0.5_0.7": ".5 to .7",
        "right_0.7_1.0": ".7 to 1",
    },
    "conditions": {
        "condition": "as seen",
        "target": "target",
        "auc_pvm_perception": "success AUC",
        "false_boxes_pvm_perception": "false boxes a frame",
        "auc_HSV + Kalman": "HSV + Kalman: AUC",
        "false_boxes_HSV + Kalman": "false boxes",
        "auc_CSRT": "CSRT, given the first box: AUC",
        "auc_NanoDet": "NanoDet: AUC",
        "false_boxes_NanoDet": "false boxes",
    },
    "experiments": {
        "experiment": "experiment",
        "unlabelled_frames": "frames without labels",
        "labelled_frames": "labelled frames",
        "auc_green_ball": "success AUC, balls",
        "auc_stop_sign": "signs",
        "prediction_over_copy": "layer 1's forecast over copying",
    },
    "motion": {"turns": "turns", "motion": "what is known of the motion", "prediction_over_copy": "forecast"},
    "association": {
        "target": "target",
        "tracker": "tracker",
        "hota": "HOTA",
        "idf1": "IDF1",
        "mota": "MOTA",
        "switches": "id switches a scene",
        "recall": "recall",
        "false_boxes": "false boxes a frame",
    },
    "torture": {
        "part": "part",
        "count": "count",
        "failures": "failures",
        "slowest_s": "slowest, s",
        "peak_mb": "most memory, MB",
    },
    "soak": {
        "part": "part",
        "minutes": "minutes",
        "count": "frames answered",
        "failures": "failures",
        "mb_per_hour": "slope, MB an hour",
        "rss_mb": "memory, MB",
        "p50_ms": "p50, ms",
        "p99_ms": "p99, ms",
        "p99_first_third_ms": "p99, first third",
        "p99_last_third_ms": "p99, last third",
    },
}
WHOLE = (
    "boxes",
    "candidates",
    "frames",
    "count",
    "failures",
    "peak_mb",
    "experiment",
    "unlabelled_frames",
    "labelled_frames",
    "targets",
    "with_target",
    "horizon",
    "id_switches",
    "start_px",
    "first_px",
)  # shown without decimals


def table(name: str) -> str:
    """Return a file of figures as a table in Markdown, two decimals; blank stays a dash."""
    columns = FIGURES[name]
    lines = ["| " + " | ".join(columns.values()) + " |", "|---" * len(columns) + "|"]
    with (ROOT / "benchmarks" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        lines += [
            "| " + " | ".join(_cell(key, row[key]) for key in columns) + " |" for row in csv.DictReader(file)
        ]
    return "\n".join(lines) + "\n"


def _cell(key: str, text: str) -> str:
    try:
        return f"{float(text):.{0 if key in WHOLE else 2}f}"
    except ValueError:
        return text or "–"


def filled(text: str) -> str:
    """Return a page with what lies between its marks, `<!-- parameters NODE -->` or the like, made anew."""
    for name in FIGURES:
        text = re.sub(
            rf"(<!-- figures {name} -->\n).*?(<!-- /figures -->)",
            lambda m, name=name: m[1] + table(name) + m[2],
            text,
            flags=re.DOTALL,
        )
    for name, parameters in NODES.items():
        part = parameters.markdown_table()
        text = re.sub(
            rf"(<!-- parameters {name} -->\n).*?(<!-- /parameters -->)",
            lambda m, part=part: m[1] + part + m[2],
            text,
            flags=re.DOTALL,
        )
    return text


def main() -> None:
    """Write what has changed."""
    for name, parameters in NODES.items():
        (ROOT / "config" / f"{name}.yaml").write_text(parameters.yaml_file(), encoding="utf-8")
    for page in (ROOT / "README.md", ROOT / "models/README.md", *(ROOT / "docs").glob("*.md")):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
