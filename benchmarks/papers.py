"""docs/papers.md: the papers' tables, counted; and runs of their rows.

    python benchmarks/papers.py                                  # counts every model, and writes the page
    python benchmarks/papers.py ROW --minutes N --data NAME=DIR  # runs a row, and writes its figure into the page

``--data`` says where a data set of the row is, by the name in its command, and is repeated for a row with several;
commands whose data set is not given are left out. The figures go to benchmarks/papers.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accuracy.measure import Failed, call, commit, gather, machine
from paper_tables import DATA_SETS, TABLES, Counts, Row, distinct_rows
from paper_tables.page import write_page
from paper_tables.rows import ROOT, count
from sensorium.files import replace_file
from sensorium.models.checkpoints import WEIGHTS
from sensorium.training.run_folder import CONFIG, EVALUATIONS, REPORT

FIGURES = ROOT / "benchmarks" / "papers.json"
PAGE = ROOT / "docs" / "papers.md"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; ``data`` is a folder by the name of the data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", nargs="?", choices=list(distinct_rows()), metavar="ROW")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the training")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="a.b=c", help="of the training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--published", action="store_true", help="score the published weights instead of training")
    parser.add_argument("--write", action="store_true", help="write the page from the figures, and count nothing")
    parser.add_argument("--out", type=Path, default=ROOT, help="where runs/papers, the figures and the page go")
    options = parser.parse_args(arguments)
    pairs = [value.partition("=") for value in options.data]
    if any(not folder for _, _, folder in pairs):
        parser.error("--data: write it as NAME=DIR, such as --data modelnet40=../data/modelnet40")
    options.data = {name: Path(folder).resolve() for name, _, folder in pairs}
    for name in options.data:
        if name not in DATA_SETS:
            parser.error(f"--data {name}: there is none; known are {', '.join(DATA_SETS)}")
    return options


def read(path: Path) -> dict[str, Any]:
    """The counts and the runs; none without the file."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {"counts": {}, "runs": []}


def counted() -> dict[str, Counts]:
    """The counts of every model."""
    rows = {row.model: row for table in TABLES for row in table.rows if row.model}
    return {model: count(row) for model, row in rows.items()}


def page_of(figures: dict[str, Any]) -> str:
    """The page with the counts and the runs of papers.json."""
    return write_page(TABLES, {model: Counts(**values) for model, values in figures["counts"].items()}, figures["runs"])


def write(figures: dict[str, Any], out: Path) -> None:
    """Write the figures and the page."""
    text = json.dumps(figures, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    for path, content in ((FIGURES, text), (PAGE, page_of(figures))):
        path = out / path.relative_to(ROOT)
        replace_file(path, lambda temporary, content=content: temporary.write_text(content, encoding="utf-8"))


def commands_of(row: Row, options: argparse.Namespace) -> list[list[str]]:
    """The words of a row's commands with the folders at hand; those without their data are left out.

    Raises:
        Failed: the data that it is trained on is not given.
    """
    commands = row.published_commands() if options.published else row.commands()
    if not options.published and row.preset:
        if row.data not in options.data:
            raise Failed(f"{row.name} is trained on {row.data}: say --data {row.data}=DIR")
        settings = [word for setting in options.settings for word in ("--set", setting)]
        more = [*settings, "--minutes", f"{options.minutes:g}", "--seed", str(options.seed)]
        commands[0] = [*commands[0], *more]
    present = [words for words in commands if not (set(words) & DATA_SETS.keys()) - options.data.keys()]
    return [[str(options.data.get(word, word)) for word in words] for words in present]


def measure(row: Row, options: argparse.Namespace) -> dict[str, Any]:
    """Run the commands of a row, and gather its figures. A finished training is not repeated, and one that was
    interrupted goes on.

    Raises:
        Failed: a command ended with an error.
    """
    folder = options.out / (f"{row.run}-published" if options.published else row.run)
    folder.parent.mkdir(parents=True, exist_ok=True)
    called = {str(path): name for name, path in options.data.items()}  # where the data lie concerns nobody else
    commands, result = commands_of(row, options), folder / (WEIGHTS if options.published else REPORT)
    for number, words in enumerate(commands):
        words = [str(options.out / word) if word.startswith("runs/") else word for word in words]
        if number == 0 and result.exists():
            continue
        if number == 0 and (folder / CONFIG).exists():
            words = [*words[:3], "--resume", "--out", str(folder)]
        print(f"$ {shlex.join(words)}", flush=True)
        call(words, folder.with_suffix(".log"))
    found = gather(folder)
    evaluations = {
        path.parent.name: json.loads(path.read_text("utf-8"))["metrics"]
        for path in sorted((folder / EVALUATIONS).glob("*/report.json"))
    }
    return {
        "row": row.name,
        "data": options.data[row.data].name if row.data in options.data else "",
        "published": options.published,
        "minutes": round(found.get("seconds", 0.0) / 60, 1),
        "settings": options.settings,
        "seed": options.seed,
        "commands": [shlex.join(called.get(word, word) for word in words) for words in commands],
        "metric": found.get("metric", ""),
        "metrics": found.get("metrics", {}),
        "samples": found.get("samples", 0),
        "steps": found.get("steps", 0),
        "evaluations": evaluations,
        "machine": machine(),
        "commit": commit(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Count and write, or run a row and write. The exit status is 1 where a run failed."""
    options = parse(arguments)
    entry: dict[str, Any] | None = None
    if options.row:
        try:
            entry = measure(distinct_rows()[options.row], options)
        except Failed as error:
            sys.exit(f"failed: {error}")
        print(json.dumps(entry, indent=1, ensure_ascii=False))
    figures = read(options.out / FIGURES.relative_to(ROOT))  # not earlier: another row may be run beside this one
    if entry:
        same = ("row", "data", "settings", "seed", "published")
        others = [run for run in figures["runs"] if any(run[key] != entry[key] for key in same)]
        figures["runs"] = sorted([*others, entry], key=lambda run: (run["row"], run["data"], run["settings"]))
    elif not options.write:
        figures["counts"] = {model: asdict(counts) for model, counts in counted().items()}
        for model, counts in figures["counts"].items():
            print(f"{counts['parameters']:>13,} parameters  {counts['gigaflop']:>8,.1f} GFLOP  {model}")
    write(figures, options.out)
    print(options.out / PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
