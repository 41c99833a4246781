"""The learning curve: a table with a row for each validation, and its picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pvm_perception.errors import writing


def read_curve(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table, such as a learning curve."""
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def add_to_curve(table: Path, row: dict[str, Any]) -> None:
    """Append a row; its columns become the table's, for a network that grew has more of them.

    Parameters
    ----------
    table
        CSV file, written anew.
    row
        Values by column.

    Raises
    ------
    PvmError
        If the file cannot be written.
    """
    rows = [*read_curve(table), row] if table.exists() else [row]
    with writing(table), table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row), restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def draw_curve(table: Path, picture: Path) -> None:
    """Draw accuracy, losses and forecasts against the frames seen, on a logarithmic scale.

    Where the forecast was measured on held-back video it takes the place of the accuracy, on two
    logarithmic axes.

    Parameters
    ----------
    table
        CSV file that `add_to_curve` wrote.
    picture
        Image file, which is written over.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    PvmError
        If the picture cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = read_curve(table)
    frames = [int(r["frames"]) for r in rows]

    def column(key: str) -> list[float]:
        return [float(r[key] or "nan") for r in rows]  # empty before the network had it

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    held_back = "held_back_over_copy" in rows[0]
    if held_back:
        axes[0].plot(frames, column("held_back_over_copy"), ".-", label="held-back video")
    for key in () if held_back else rows[0]:
        if key.startswith(("auc_", "presence_f1_")):
            axes[0].plot(frames, column(key), ".-", label=key.replace("_", " "))
    for key in ("loss_presence", "loss_box", "loss_prediction", "loss_copy"):
        axes[1].plot(frames, column(key), ".-", label=key.replace("_", " "))
    if held_back:
        axes[0].set(xscale="log", yscale="log", xlabel="frames seen", ylabel="forecast over copying")
    else:
        axes[0].set(xscale="log", xlabel="frames seen", ylabel="generated validation scenes", ylim=(0, 1))
    axes[1].set(xscale="log", yscale="log", xlabel="frames seen", ylabel="training loss")
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    with writing(picture):
        figure.savefig(picture, dpi=110)
    plt.close(figure)
