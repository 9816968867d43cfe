"""Scores as HTML tables: bars, the confusion matrix, the worst confusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .summary import figure, percent

MOST_CLASSES = 40  # of a confusion matrix that is drawn
SHOWN_CLASSES = 20  # rows of a table before the rest folds away
SHOWN_CONFUSIONS = 10
TITLES = {
    "average_precision": "Average precision",
    "count": "Examples",
    "f1": "F1",
    "mae": "Mean absolute error",
    "precision": "Precision",
    "r2": "R²",
    "recall": "Recall",
    "rmse": "Root mean squared error",
}
LEADING = {"classify": "f1", "tag": "average_precision", "regress": "r2"}  # what the bars show


def per_class(report: Mapping[str, Any]) -> str:
    """Each class with its scores, the weakest first, and a bar for the score that sums them up."""
    leading = LEADING[report["task"]]
    entries = sorted(report["per_class"].items(), key=lambda entry: _weakest_first(entry[1][leading]))
    rows = [_bar_row(name, scores, leading) for name, scores in entries]
    columns = [key for key in entries[0][1] if key != leading]
    head = "".join(f'<th class="number" scope="col">{TITLES[key]}</th>' for key in [*columns, leading])
    what = {"classify": "Class", "tag": "Tag", "regress": "Target"}[report["task"]]
    head = f'<thead><tr><th scope="col">{what}</th>{head}<th></th></tr></thead>'
    shown, rest = rows[:SHOWN_CLASSES], rows[SHOWN_CLASSES:]
    first, second = (
        f'<div class="scroll"><table class="bars">{head}<tbody>{"".join(some)}</tbody></table></div>'
        for some in (shown, rest)
    )
    return f"{first}<details><summary>{len(rest)} more</summary>{second}</details>" if rest else first


def attention_shares(told: Mapping[str, Sequence[float]]) -> str:
    """How much of each read's attention went to which modality: for each modality by name, its share of every read."""
    count = len(next(iter(told.values())))
    head = "".join(f'<th class="number" scope="col">Read {read} of {count}</th>' for read in range(1, count + 1))
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f'<td class="number">{percent(share)}</td>' for share in of_reads)
        + "</tr>"
        for name, of_reads in told.items()
    )
    return (
        f'<div class="scroll"><table><thead><tr><th scope="col">Modality</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def confusion(report: Mapping[str, Any]) -> str:
    """The confusion matrix, each row shaded by its shares; nothing where there are too many classes to see."""
    classes, matrix = report["classes"], report["confusion"]
    if len(classes) > MOST_CLASSES:
        return ""
    size = 44 if len(classes) <= 12 else 32 if len(classes) <= 24 else 20
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in classes)
    rows = "".join(_matrix_row(place, classes, counts) for place, counts in enumerate(matrix))
    return (
        '<p class="soft">A row is what it is, a column what it was taken for; the shade is the share of the row.</p>'
        f'<div class="scroll"><table class="matrix" style="--cell:{size}px">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def worst_confusions(report: Mapping[str, Any]) -> str:
    """The pairs of classes most often mistaken for each other."""
    pairs = report["worst_confusions"][:SHOWN_CONFUSIONS]
    rows = "".join(
        f"<tr><th>{escape(pair['true'])}</th><td>{escape(pair['predicted'])}</td>"
        f'<td class="number">{pair["count"]}</td><td class="number">{percent(pair["share"])}</td></tr>'
        for pair in pairs
    )
    head = (
        '<th scope="col">It is</th><th scope="col">taken for</th>'
        '<th class="number" scope="col">times</th><th class="number" scope="col">of its class</th>'
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if pairs else "<p>No confusions.</p>"


def _bar_row(name: str, scores: Mapping[str, Any], leading: str) -> str:
    numbers = "".join(
        f'<td class="number">{_told(key, scores[key])}</td>'
        for key in [*(key for key in scores if key != leading), leading]
    )
    share = min(max(scores[leading] or 0.0, 0.0), 1.0)
    bar = f'<td class="bar"><i style="--share:{share:.3f}"></i></td>'
    return f'<tr><th scope="row">{escape(name)}</th>{numbers}{bar}</tr>'


def _matrix_row(place: int, classes: Sequence[str], counts: Sequence[int]) -> str:
    total = sum(counts)
    name = escape(classes[place])
    cells = []
    for column, count in enumerate(counts):
        if not count:
            cells.append('<td class="none"></td>')
            continue
        share = count / total
        tone = "var(--accent)" if column == place else "var(--bad)"
        # Few mistakes must still be seen: shares are shown from a tenth of the ink up.
        style = f"--tone:{tone};--share:{0.1 + 0.9 * share:.2f}"
        title = f"{name} taken for {escape(classes[column])}: {count} of {total} ({percent(share)})"
        cells.append(f'<td{" class=full" if share > 0.7 else ""} style="{style}" title="{title}">{count}</td>')
    return f'<tr><th scope="row" title="{name}">{name}</th>{"".join(cells)}</tr>'


def _told(key: str, value: float | None) -> str:
    return figure(value) if key in ("count", "mae", "rmse", "r2") else percent(value)


def _weakest_first(score: float | None) -> tuple[bool, float]:
    """Scores that are not defined come last."""
    return score is None, score or 0.0
