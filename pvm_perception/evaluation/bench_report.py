"""A benchmark as a table for the terminal and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pvm_perception.errors import writing
from pvm_perception.evaluation.machine import Row

# heading, column, width, factor, digits
SHOWN = (
    ("cores", "cores", 6, 1, 0),
    ("B", "batch", 4, 1, 0),
    ("learn", "learn", 6, 1, 0),
    ("looks", "looks", 6, 1, 1),
    ("input", "input", 9, None, 0),
    ("ms", "ms_median", 9, 1, 2),
    ("p99", "ms_p99", 9, 1, 2),
    ("busy", "ms_busy", 8, 1, 2),
    ("frames/s", "frames_per_second", 9, 1, 0),
    ("ratio", "ratio", 7, 1, 2),
    ("MW/s", "weights_per_second", 8, 1e-6, 0),
    ("GFLOP/s", "gflops", 8, 1, 1),
    ("of peak", "flop_over_peak", 8, 1, 2),
    ("of all", "flop_over_products", 7, 1, 2),
    ("GB/s", "gbytes_per_second", 7, 1, 2),
    ("of peak", "bytes_over_peak", 8, 1, 2),
    ("start s", "cold_start_s", 8, 1, 2),
    ("RSS MB", "peak_mb", 7, 1, 0),
    ("temp kB", "temporary_kb", 9, 1, 0),
    ("kept kB", "retained_kb", 8, 1, 1),
)
LEGEND = """ms: median and 99th percentile of a frame; busy: the processor's own time of it (cuda: the whole)
ratio: busy, among peers ms, over that of the first row of the part; what follows is of the busy time
MW/s: million weights a second; of peak: of a matrix product of the network's largest shape, and of a
copy of 64 MiB; of all: of the network's products by themselves, each in its shape; all of these
measured with each row; GB/s: the least that must move
start: fresh process to first answer; RSS: the most in use; temp: most that a frame allocates above the
level between frames, kept: growth of that level over all frames (host memory)"""


def table(rows: list[Row]) -> str:
    """Return the rows as text, with a legend."""
    first = max(len(f"{r['part']}: {r['what']}") for r in rows) + 1
    lines = [f"{'':{first}}{'device':13}" + "".join(f"{s[0]:>{s[2]}}" for s in SHOWN)]
    part = rows[0]["part"]
    for row in rows:
        if row["part"] != part:
            lines.append("")
            part = row["part"]
        lines.append(
            f"{row['part'] + ': ' + row['what']:{first}}{row['runs_on'] or row['device']:13}"
            + "".join(_cell(row[c], *how) for _, c, *how in SHOWN)
        )
    return "\n".join([*lines, "", LEGEND])


def _cell(value: Any, width: int, factor: float | None, digits: int) -> str:
    if value == "" or factor is None:
        return f"{value:>{width}}"
    return f"{value * factor:{width}.{digits}f}"


def draw(rows: list[Row], path: Path) -> None:
    """Write a picture: time of a frame, the roofline, and how time grows.

    Parameters
    ----------
    rows
        From `bench.with_ratios`.
    path
        PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, ((bars, roof), (batches, sizes)) = plt.subplots(2, 2, figsize=(14, 10), layout="constrained")
    whole = [r for r in rows if r["part"] in ("tracker", "peers")][::-1]
    bars.barh(
        [_name(r) for r in whole],
        [r["ms_median"] for r in whole],
        xerr=[[0] * len(whole), [r["ms_p99"] - r["ms_median"] for r in whole]],
        color=["tab:blue" if r["part"] == "tracker" else "tab:grey" for r in whole],
    )
    bars.set(
        xscale="log",
        xlabel="ms a frame: median, line to the 99th percentile",
        title="image to boxes, 640x480",
    )
    _roofline(roof, [r for r in rows if r["part"] in ("tracker", "network")])
    lines: dict[str, list[Row]] = {}
    for r in rows:
        if r["part"] == "network":
            learn = ", learning" if r["learn"] else ""
            lines.setdefault(f"{r['what']}, {r['device']}{learn}", []).append(r)
    for name, line in lines.items():
        batches.plot([r["batch"] for r in line], [r["ms_busy"] for r in line], ".-", label=name)
    batches.set(
        xscale="log",
        yscale="log",
        xlabel="streams side by side",
        ylabel="ms busy a frame",
        title="steps of the network",
    )
    for part in dict.fromkeys(r["part"] for r in rows if r["part"].startswith(("input", "code"))):
        line = [r for r in rows if r["part"] == part]
        base = line[0]["gflop_per_frame"]
        sizes.plot(
            [r["gflop_per_frame"] / base for r in line],
            [r["ratio"] for r in line],
            ".-",
            label=f"{part}: {', '.join(r['what'] for r in line)}",
        )
    sizes.axline((1, 1), slope=1, color="k", ls=":", lw=0.8)
    sizes.set(
        xscale="log",
        yscale="log",
        xlabel="work over the first's",
        ylabel="time over the first's",
        title="larger inputs, wider codes",
    )
    for axis in (bars, roof, batches, sizes):
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    with writing(path):
        figure.savefig(path, dpi=90)
    plt.close(figure)


def _name(row: Row) -> str:
    if row["part"] == "peers":
        return f"{row['what']} (peers' frames), cores: {row['cores']}"
    learning = ", learning" if row["learn"] else ""
    return f"{row['what']}, {row['device']}, cores: {row['cores']}, {row['looks']:.1f} looks{learning}"


def _roofline(axis: Any, rows: list[Row]) -> None:
    """Draw the work done a second against the work done for each byte, under both peaks."""
    for device in dict.fromkeys(r["device"] for r in rows):
        mine = [r for r in rows if r["device"] == device]
        flops = max(r["gflops_peak"] for r in mine)
        traffic = max(r["gbytes_per_second_peak"] for r in mine)
        x = [0.1, flops / traffic, 1000]
        axis.plot(
            x,
            [min(flops, traffic * v) for v in x],
            lw=1,
            label=f"{device}: {flops:.0f} GFLOP/s, {traffic:.1f} GB/s",
        )
    for name, marker in zip(dict.fromkeys(r["what"] for r in rows), "os^v", strict=False):
        for learn, fill in ((0, "full"), (1, "none")):
            mine = [r for r in rows if r["what"] == name and r["learn"] == learn]
            if mine:
                axis.plot(
                    [r["gflops"] / r["gbytes_per_second"] for r in mine],
                    [r["gflops"] for r in mine],
                    marker,
                    fillstyle=fill,
                    ls="",
                    label=f"{name}{', learning' if learn else ''}",
                )
    axis.set(xscale="log", yscale="log", xlabel="FLOP for each byte", ylabel="GFLOP/s", title="roofline")
