"""docs/results.md, measured: every set is trained with ``auto``, one after the other, each run in a process of its own.

    python benchmarks/results.py [--data ../shared/data] [--only NAME...] [--plain] [--again] [--minutes M]

A run whose folder is finished is not made again, and an interrupted one goes on, so that the command can be stopped and
repeated. After each run its figures go to benchmarks/accuracy.json, and the page is written from that file. With
``--minutes``, for a trial, no run takes longer, and both files go into the folder of the runs instead.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accuracy.measure import Failed, Figures, Folders, measure, remove
from accuracy.page import fill
from accuracy.sets import ROOT, SETS, Run, Set, runs_of
from sensorium.files import replace_file

FIGURES = ROOT / "benchmarks" / "accuracy.json"
DATA = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "results.md"


def parse(arguments: Sequence[str] | None = None, sets: Sequence[Set] = SETS) -> argparse.Namespace:
    """The options; ``figures`` and ``page`` are the files to write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="of sets, or of tables of the page")
    parser.add_argument("--plain", action="store_true", help="also without a stem before the attention")
    parser.add_argument("--again", action="store_true", help="measure anew what is finished")
    parser.add_argument("--minutes", type=float, help="of a run at most, for a trial")
    parser.add_argument("--out", type=Path, help="the folder of the runs: runs/results, or runs/trial with --minutes")
    parser.add_argument("--write", action="store_true", help="write the page from the figures, and measure nothing")
    options = parser.parse_args(arguments)
    known = {wanted.name for wanted in sets} | {wanted.section for wanted in sets}
    for name in options.only:
        if name not in known:
            parser.error(f"--only {name}: there is none; known are {', '.join(sorted(known))}")
    trial = options.minutes is not None
    options.out = options.out or ROOT / "runs" / ("trial" if trial else "results")
    options.figures = options.out / FIGURES.name if trial else FIGURES
    options.page = options.out / PAGE.name if trial else PAGE
    return options


def chosen_runs(options: argparse.Namespace, sets: Sequence[Set] = SETS) -> list[Run]:
    """The runs in their order; those of a set without a stem after its own."""
    return [
        run
        for wanted in sets
        if not options.only or {wanted.name, wanted.section} & set(options.only)
        for plain in ((False, True) if options.plain and wanted.plain else (False,))
        for run in runs_of(wanted, plain=plain, most_minutes=options.minutes)
    ]


def read_figures(path: Path) -> dict[str, Figures]:
    """The figures by the name of their run; none without the file."""
    return {entry["run"]: entry for entry in json.loads(path.read_text("utf-8"))} if path.exists() else {}


def write(entries: dict[str, Figures], options: argparse.Namespace, sets: Sequence[Set] = SETS) -> None:
    """Write the figures and the page, each whole or not at all."""
    text = json.dumps([entries[name] for name in sorted(entries)], indent=1, ensure_ascii=False, sort_keys=True)
    replace_file(options.figures, lambda path: path.write_text(f"{text}\n", encoding="utf-8"))
    page = fill(PAGE.read_text("utf-8"), entries, sets)
    replace_file(options.page, lambda path: path.write_text(page, encoding="utf-8"))


def headline(figures: dict[str, Any]) -> str:
    """The score of a run, for the log."""
    if "score" not in figures:
        numbers = {name: value for name, value in figures["figures"].items() if isinstance(value, float)}
        return ", ".join(f"{name} {value:.3f}" for name, value in numbers.items())
    beside = "".join(f", {each['name']} {each['score']:.3f}" for each in figures["baselines"][:1] if each["score"])
    return f"{figures['metric']} {figures['score']:.3f}{beside}"


def main(arguments: Sequence[str] | None = None, sets: Sequence[Set] = SETS) -> None:
    """Measure, and write after each run. The exit status is 1 where a run failed; the others are made all the same."""
    options = parse(arguments, sets)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = 0
    runs = [] if options.write else chosen_runs(options, sets)
    folders = Folders(options.data, options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    if runs:
        print(f"{len(runs)} runs, {sum(run.minutes for run in runs):g} minutes of training at most", flush=True)
    for number, run in enumerate(runs, start=1):
        if options.again:
            remove(run, folders)
        print(f"[{number} of {len(runs)}] {time.strftime('%H:%M')} {run.name}, {run.minutes:g} minutes", flush=True)
        try:
            figures = measure(run, folders)
        except KeyboardInterrupt:
            sys.exit("stopped; the same command goes on here")
        except Failed as error:
            print(f"    failed: {error}", flush=True)
            failed += 1
            continue
        if figures is not None:
            print(f"    {headline(figures)}", flush=True)
            # Read anew, because the same command may run beside this one, with other sets.
            write({**read_figures(options.figures), run.name: figures}, options, sets)
    write(read_figures(options.figures), options, sets)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
