"""docs/results.md from the figures: what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` is written
anew, and what people wrote around it stays."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .figures import Summary, baseline, mean_of, summarise, verdict
from .sets import SETS, Section, Set, runs_of

Entries = Mapping[str, Mapping[str, Any]]  # by the name of a run, what its finished.json holds
Runs = Sequence[dict[str, Any]]


def fill(page: str, entries: Entries, sets: Sequence[Set] = SETS) -> str:
    """The page with the figures that there are.

    Raises:
        ValueError: the page has no place for a section, or one that is not known.
    """
    places = set(re.findall(r"^<!-- begin (.*) -->$", page, flags=re.M))
    if places != set(WRITERS):
        raise ValueError(f"the page has places for {sorted(places)}, the sections are {sorted(WRITERS)}")
    for name, write in WRITERS.items():
        place = re.compile(rf"(?<=^<!-- begin {name} -->\n).*?(?=^<!-- end {name} -->$)", flags=re.M | re.S)
        text = "\n".join(write(entries, sets)) or "Not measured yet."
        page, count = place.subn(lambda _, text=text: f"{text}\n", page)
        if count != 1:
            raise ValueError(f"the page needs <!-- begin {name} --> and <!-- end {name} --> once")
    return page


def _measured(wanted: Set, entries: Entries, *, plain: bool = False) -> Runs:
    """The finished runs of a set."""
    names = [run.name for run in runs_of(wanted, plain=plain)]
    return [dict(entries[name]) for name in names if name in entries]


def _in(section: Section, entries: Entries, sets: Sequence[Set]) -> list[tuple[Set, Runs]]:
    """The sets of a section that have been measured, with their runs."""
    found = [(wanted, _measured(wanted, entries)) for wanted in sets if wanted.section == section]
    return [(wanted, runs) for wanted, runs in found if runs]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown; nothing without rows."""
    if not rows:
        return []
    return [_line(heads), _line(["---"] * len(heads)), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _spread(summary: Summary) -> str:
    """The runs and their standard deviation in percentage points."""
    count, expected = summary.trained
    runs = f"{count} of {expected}" if count < expected else f"{count}"
    return runs if summary.spread is None else f"{runs}, ± {100 * summary.spread:.1f}"


def _asked(wanted: Set) -> str:
    """Bar and aim in percent."""
    return " / ".join(f"{100 * each:g}" for each in (wanted.bar, wanted.aim) if each is not None)


def _beside(runs: Runs) -> str:
    found = baseline(runs)
    return "" if found is None else f"{found[1]:.1%}, {found[0]}"


def _plain(wanted: Set, entries: Entries, *, shown: Callable[[float], str] = _percent) -> str:
    runs = _measured(wanted, entries, plain=True)
    return shown(summarise(wanted, runs).score) if runs else "not measured"


def _classes(entries: Entries, sets: Sequence[Set]) -> list[str]:
    return _accuracies("classes", entries, sets)


def _films(entries: Entries, sets: Sequence[Set]) -> list[str]:
    lines = _accuracies("films", entries, sets)
    for wanted, runs in _in("films", entries, sets):
        for run in runs:
            for name, score in run.get("without", {}).items():
                lines.append(f"\n`{wanted.name}`, evaluated without its {name}: {score:.1%}.")
    return lines


def _accuracies(section: Section, entries: Entries, sets: Sequence[Set]) -> list[str]:
    """Sets whose figure is accuracy."""
    rows = []
    for wanted, runs in _in(section, entries, sets):
        summary = summarise(wanted, runs)
        low, high = summary.interval
        rows.append(
            (
                f"`{wanted.name}`",
                wanted.signal,
                f"{summary.tested:,}",
                f"**{summary.score:.1%}**",
                f"{low:.1%} to {high:.1%}",
                _spread(summary),
                _beside(runs),
                _plain(wanted, entries),
                _asked(wanted),
                verdict(summary.score, wanted),
            )
        )
    heads = ("data", "signal", "test examples", "accuracy", "95 % interval", "runs", "classical baseline")
    return _table((*heads, "plain Perceiver", "bar / aim, %", ""), rows)


def _tables(entries: Entries, sets: Sequence[Set]) -> list[str]:
    """Tables beside gradient boosting."""
    rows = []
    for wanted, runs in _in("tables", entries, sets):
        summary, boosting = summarise(wanted, runs), mean_of(runs, "boosting")
        shown = _percent if runs[0]["metric"] == "accuracy" else "{:.3f}".format
        reported = baseline(runs)
        spread = "" if summary.spread is None else f" ± {shown(summary.spread)}"
        rows.append(
            (
                f"`{wanted.name}`",
                wanted.signal,
                f"{summary.tested:,}",
                "R²" if runs[0]["metric"] == "r2" else runs[0]["metric"],
                f"**{shown(summary.score)}**{spread}",
                "" if boosting is None else shown(boosting),
                "" if reported is None else shown(reported[1]),
                _plain(wanted, entries, shown=shown),
                "{} of {}".format(*summary.trained),
            )
        )
    heads = (
        "data",
        "columns",
        "test rows",
        "figure",
        "sensorium, mean and spread",
        "gradient boosting",
        "in the report",
        "plain Perceiver",
        "seeds",
    )
    return _table(heads, rows)


def _text(entries: Entries, sets: Sequence[Set]) -> list[str]:
    lines: list[str] = []
    for wanted, (run, *_) in _in("text", entries, sets):
        figures = run["figures"]
        rows = [("the model", f"**{figures['accuracy']:.1%}**", f"**{figures['bits']:.2f}**")]
        rows += [(each["name"], f"{each['accuracy']:.1%}", f"{each['bits']:.2f}") for each in figures["grams"]]
        lines += _table(("what", "accuracy of hidden bytes", "bits a hidden byte"), rows)
        lines += _remark(wanted, f"{figures['bits']:.2f} bits", figures["bits"], "bits", smaller=True)
    return lines


def _flow(entries: Entries, sets: Sequence[Set]) -> list[str]:
    lines: list[str] = []
    for wanted, (run, *_) in _in("flow", entries, sets):
        pairs = run["figures"]["pairs"]
        rows = [
            (pair["name"], f"{pair['still']:.2f}", f"**{pair['error']:.2f}**", f"{pair['error'] / pair['still']:.2f}")
            for pair in pairs
        ]
        lines += _table(("pairs", "error of no motion, pixels", "end-point error, pixels", "share"), rows)
        share = pairs[0]["error"] / pairs[0]["still"]
        lines += _remark(wanted, f"{share:.2f} of no motion on made pairs", share, "of no motion", smaller=True)
        for pair in pairs:
            if pair["name"] in wanted.bars_of_pairs:
                asked = replace(wanted, bar=wanted.bars_of_pairs[pair["name"]], aim=None)
                figure = f"`{pair['name']}`: {pair['error']:.2f} pixels"
                lines += _remark(asked, figure, pair["error"], "pixels", smaller=True)
    return lines


def _autoencoding(entries: Entries, sets: Sequence[Set]) -> list[str]:
    lines: list[str] = []
    for wanted, (run, *_) in _in("autoencoding", entries, sets):
        figures = run["figures"]
        rows = [
            ("the model", f"**{figures['video']:.1f} dB**", f"**{figures['audio']:.1f} dB**"),
            ("the mean picture; silence", f"{figures['mean_picture']:.1f} dB", f"{figures['silence']:.1f} dB"),
        ]
        lines += _table(("of the test films", "PSNR of pictures", "PSNR of sound"), rows)
        gain = figures["audio"] - figures["silence"]
        lines += _remark(wanted, f"sound {gain:.1f} dB above silence", gain, "dB")
    return lines


def _remark(wanted: Set, figure: str, value: float, unit: str, *, smaller: bool = False) -> list[str]:
    """A line below a table: the figure and what is asked of it."""
    asked = f"bar {wanted.bar:g} {unit}" + ("" if wanted.aim is None else f", aim {wanted.aim:g} {unit}")
    return ["", f"{figure[0].upper()}{figure[1:]}; {asked}: {verdict(value, wanted, smaller=smaller)}."]


def _runs(entries: Entries, sets: Sequence[Set]) -> list[str]:
    """How each set was measured, and what was not."""
    rows, commands = [], []
    for wanted in sets:
        for plain in (False, True):
            runs = _measured(wanted, entries, plain=plain)
            if runs:
                rows.append(_run_row(wanted.name + (", plain" if plain else ""), runs))
                commands += [*runs[0]["commands"], *([] if len(runs) == 1 else [f"#   and {len(runs) - 1} more"])]
    heads = ("data", "commit", "minutes given", "minutes trained", "epochs", "steps", "parameters", "latents", "cores")
    lines = _table(heads, rows)
    machines = dict.fromkeys(_machine(entry) for entry in entries.values())
    lines += [line for machine in machines for line in ("", f"Machine: {machine}.")]
    lines += ["", "```sh", *commands, "```"] if commands else []
    missing = [f"`{wanted.name}`" for wanted in sets if not _measured(wanted, entries)]
    lines += ["", f"Not measured yet: {', '.join(missing)}."] if missing else []
    return lines[1:] if lines[:1] == [""] else lines


def _machine(entry: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(entry["versions"].items()))
    return f"{entry['machine']}; {versions}"


def _run_row(name: str, runs: Runs) -> tuple[str, ...]:
    """Means over the runs of a set."""
    minutes = mean_of([{"seconds": run.get("seconds", run["figures"].get("seconds"))} for run in runs], "seconds")
    parameters = runs[0].get("parameters", runs[0]["figures"].get("parameters"))
    epochs, most, steps = (mean_of(runs, name) for name in ("epochs", "most_epochs", "steps"))
    cores = mean_of(runs, "cores_used")
    return (
        f"`{name}`" if ", " not in name else f"`{name.partition(', ')[0]}`, plain",
        ", ".join(dict.fromkeys(commit for run in runs for commit in run["commits"])),
        f"{len(runs)} × {runs[0]['minutes']:g}" if len(runs) > 1 else f"{runs[0]['minutes']:g}",
        "" if minutes is None else f"{minutes / 60:.1f}",
        "" if epochs is None else f"{epochs:.0f}" + ("" if most is None else f" of {most:.0f}"),
        "" if steps is None else f"{steps:,.0f}",
        "" if parameters is None else f"{parameters:,}",
        runs[0].get("latents", ""),
        "" if cores is None else f"{cores:.1f}",
    )


WRITERS: dict[str, Callable[[Entries, Sequence[Set]], list[str]]] = {
    "classes": _classes,
    "films": _films,
    "tables": _tables,
    "text": _text,
    "flow": _flow,
    "autoencoding": _autoencoding,
    "runs": _runs,
}
