"""results.md and rows.png from results.json: ``python benchmarks/peers_report.py`` draws them anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib import pyplot

from sensorium.files import replace_file

Row = dict[str, Any]  # as results.json holds it: a job, what was measured or why not, and the environment
NAMES = {
    "auto": "sensorium",
    "projected": "sensorium, projected",
    "lucidrains": "perceiver-pytorch",
    "transformers": "transformers",
}
COLOURS = {"auto": "#d1495b", "projected": "#30638e", "lucidrains": "#8f8f8f", "transformers": "#edae49"}
STAGES = {"forward": "forward pass", "step": "training step, without the optimizer"}
ABOUT = """# Against the peers

Encoders of 512 latents of 1024 channels that attend to the rows of a picture, 261 channels each (the paper's ImageNet
model); one picture at a time, float32, on the CPU. Every contender starts from the values and one table of positions an
axis; building the rows is part of the work of those that need them. Each measurement is a process of its own,
contenders take turns, and the figures are medians over the rounds. Memory is the peak of the process, and in brackets
how much of it came after building and warming up. "×" is how many times faster than the projected path. "Differs" is
the largest difference of an output from this project's, relative to the largest number in it, with the same weights on
the same picture.

- *eight cross-attends*: the Perceiver of 2021. *one cross-attend*: the encoder of Perceiver IO.
- *sensorium*: the default path. *sensorium, projected*: keys and values projected from dense rows, and torch's fused
  attention; so krasserm's perceiver-io computes it, which cannot be installed beside this Python.
- *transformers*: `PerceiverModel` with the same weights and the same GELU.
- *perceiver-pytorch* (lucidrains): the nearest configuration, not the same function, so that its outputs cannot be
  compared: a gated MLP four times as wide (six times the arithmetic of an MLP), no biases in queries, keys and values,
  a first latent transformer with weights of its own, latents that start at a standard deviation of 1.

![Time and memory against the number of rows](rows.png)
"""


def write_report(results: Path) -> None:
    """Write both files beside ``results``, each whole or not at all."""
    rows = sorted(json.loads(results.read_text("utf-8")), key=_order)
    text = "\n".join([ABOUT, *_surroundings(rows), *_tables(rows)])
    replace_file(results.with_name("results.md"), lambda path: path.write_text(text, "utf-8"))
    figure = _draw([row for row in rows if row["measured"] is not None])
    replace_file(results.with_name("rows.png"), lambda path: figure.savefig(path, format="png", dpi=110))
    pyplot.close(figure)


def _order(row: Row) -> tuple[Any, ...]:
    job = row["job"]
    return job["what"], list(STAGES).index(job["stage"]), job["size"], list(NAMES).index(job["contender"])


def _surroundings(rows: list[Row]) -> list[str]:
    """Each machine and set of versions, with the sizes that were measured there."""
    places: dict[str, set[int]] = {}
    for row in rows:
        told = ", ".join(f"{name} {value}" for name, value in row["environment"].items() if name != "command")
        places.setdefault(f"{told}; `{row['environment']['command']}`", set()).add(row["job"]["size"])
    return [f"Sizes {', '.join(map(str, sorted(sizes)))}: {told}\n" for told, sizes in places.items()]


def _tables(rows: list[Row]) -> list[str]:
    lines: list[str] = []
    heading: tuple[str, str] | None = None
    for row in rows:
        job = row["job"]
        if heading != (heading := (job["what"], job["stage"])):
            lines += [f"\n## {job['what'].capitalize()}, {STAGES[job['stage']]}\n"]
            lines += ["| rows | | seconds | × | memory, MB | differs |", "|---:|---|---:|---:|---:|---:|"]
        lines.append(f"| {job['size'] ** 2:,} | {NAMES[job['contender']]} | {' | '.join(_figures(row, rows))} |")
    return [*lines, ""]


def _figures(row: Row, rows: list[Row]) -> tuple[str, str, str, str]:
    measured = row["measured"]
    if measured is None:
        return f"not run: {row['reason']}", "", "", ""
    dense = [
        other["measured"]["seconds"]
        for other in rows
        if other["job"] == {**row["job"], "contender": "projected"} and other["measured"] is not None
    ]
    ratio = f"{dense[0] / measured['seconds']:.2f}" if dense else ""
    memory = f"{measured['peak'] / 1e6:,.0f} ({measured['growth'] / 1e6:,.0f})"
    differs = "" if measured["difference"] is None else f"{measured['difference']:.0e}"
    return f"{measured['seconds']:.3g}", ratio, memory, differs


def _draw(rows: list[Row]) -> Any:
    """Time and memory, forward and step, each against rows."""
    figure, panels = pyplot.subplots(2, 2, figsize=(11, 8), sharex=True, layout="constrained")
    for axes, (quantity, label, unit) in zip(
        panels, (("seconds", "seconds", 1.0), ("growth", "GB beyond the built model", 1e9)), strict=True
    ):
        for panel, (stage, title) in zip(axes, STAGES.items(), strict=True):
            for what, style in (("eight cross-attends", "o-"), ("one cross-attend", "s--")):
                for contender, name in NAMES.items():
                    chosen = [
                        (row["job"]["size"] ** 2, row["measured"][quantity] / unit)
                        for row in rows
                        if (row["job"]["what"], row["job"]["stage"], row["job"]["contender"])
                        == (what, stage, contender)
                        and row["measured"][quantity] > 0
                    ]
                    if chosen:
                        label_here = f"{name}, {what}"
                        panel.plot(*zip(*chosen, strict=True), style, color=COLOURS[contender], label=label_here)
            panel.set(xscale="log", yscale="log", title=title if quantity == "seconds" else "")
            panel.grid(which="major", alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel(label)
    for panel in panels[1]:
        panel.set_xlabel("rows (pixels)")
    handles = {
        text: line for panel in panels.flat for line, text in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
    return figure


if __name__ == "__main__":
    write_report(Path(__file__).parent / "results.json")
