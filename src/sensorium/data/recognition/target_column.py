"""Which column of a table is to be predicted. What no name and no evidence says is asked, not guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ...codecs.series import is_time
from ...errors import InputError, did_you_mean
from ..assumptions import Assumption, listed
from ..description import DataConfig, TargetConfig
from .columns import counts_rows, is_list, is_number, is_text
from .groups import is_group_name
from .recognise import TARGET_WORDS, needs_labels

_FLAG = "--target COLUMN"
# The last word of a name that speaks of a target, as in ``airline_sentiment``.
_TARGET_ENDINGS = ("label", "target", "class", "sentiment", "emotion", "diagnosis", "outcome", "species")
_MOST_CANDIDATES = 6
_MOST_CLASSES = 50  # different values that a column of classes has
# What columns beside a signal are called that describe its file rather than what is in it.
_METADATA = re.compile(
    "id|index|file|filename|path|url|name|size|bytes|frames?|duration|length|seconds|rms|width|height|channels|rate|fps|"
    "camera|device|sensor|date|time|timestamp|year|license|author|md5|sha|hash|split|subset|partition|fold|row"
)


def find_target(
    table: pa.Table,
    path: Path,
    description: DataConfig,
    *,
    absent: str | None = None,
    beside_signal: Sequence[str] = (),
) -> tuple[TargetConfig, tuple[Assumption, ...]]:
    """The target with its column, and what was guessed.

    Args:
        absent: the one column that a file of test rows lacks, as competitions hand out.
        beside_signal: where the table has signals (files, arrays, texts), its other columns: the only one of them that
            holds classes is the target.

    Raises:
        InputError: the described column is not there, or nothing says which column it is; with candidates.
    """
    target = description.target
    if target.column is not None:
        for column in (target.column,) if isinstance(target.column, str) else target.column:
            if column not in table.column_names:
                raise InputError(f"{path}: no column is called {column!r}; {did_you_mean(column, table.column_names)}")
        return target, ()
    roles = {description.split, description.fold, description.group, description.time, description.recording}
    free = [name for name in table.column_names if name not in roles | set(description.ignore)]
    found = _by_evidence(table, free, absent, [name for name in beside_signal if name in free])
    if found is not None:
        columns, reason = found
        called = repr(columns) if isinstance(columns, str) else f"{len(columns)} columns, {listed(columns)}"
        return replace(target, column=columns), (Assumption("target", f"{called}: {reason}", _FLAG),)
    if not needs_labels(target.task):
        return target, ()
    if 2 * sum(map(_is_number, table.column_names)) >= len(table.column_names):
        raise InputError(
            f"{path}: the first line holds numbers ({listed(table.column_names)}), not the names of the columns; put a "
            "line of names before it"
        )
    candidates = ", ".join(_candidates(table, free, beside_signal=bool(beside_signal))) or ", ".join(table.column_names)
    raise InputError(f"{path}: which column is to be predicted? say --target COLUMN; candidates: {candidates}")


def named_target(names: Iterable[str]) -> str | None:
    """The name that targets are called by, if there is one.

    >>> named_target(["file", "Label"]), named_target(["file", "price"]), named_target(["emotion_label"])
    ('Label', None, 'emotion_label')
    """
    names = list(names)
    if "z" in names:  # beside x and z, y is a coordinate
        names = [name for name in names if name != "y"]
    exact = (name for word in TARGET_WORDS for name in names if name.casefold() == word)
    endings = (name for name in names if re.split(r"[^a-z]+", name.casefold())[-1] in _TARGET_ENDINGS)
    return next(exact, None) or next(endings, None)


def _by_evidence(
    table: pa.Table, free: Sequence[str], absent: str | None, beside_signal: Sequence[str]
) -> tuple[str | tuple[str, ...], str] | None:
    """The column, or columns, that the names or the files say, and why."""
    one_hot = _one_hot(table, [name for name in free if _prefix(name)] or beside_signal)
    if (named := named_target(free)) is not None and named not in one_hot:
        return named, "it is called so"
    if absent in free:
        return str(absent), "the test file lacks it"
    if one_hot:
        return one_hot, "each is 1 where an example has it, else 0"
    classes = [name for name in beside_signal if _holds_classes(table, name)]
    if len(classes) == 1:
        return classes[0], "the only column of classes beside the signal"
    return None


def _prefix(name: str) -> bool:
    """Whether a name begins like those of one-hot columns: ``label_dog``, ``tag: cat``."""
    return re.match(r"(label|class|target|tag)[_ .:-]", name.casefold()) is not None


def _one_hot(table: pa.Table, names: Sequence[str]) -> tuple[str, ...]:
    """The columns among these that hold 0 and 1 and nothing else, where there are two or more, and not more others that
    hold classes."""
    found, others = [], 0
    for name in names:
        column = table[name]
        is_plain = is_number(column.type) and not column.null_count and not _is_metadata(name)
        if is_plain and set(pc.unique(column).to_pylist()) == {0, 1}:
            found.append(name)
        else:
            others += _holds_classes(table, name)
    return tuple(found) if len(found) > max(1, others) else ()


def _holds_classes(table: pa.Table, name: str) -> bool:
    """Whether a column holds words or whole numbers that recur, and is not called like metadata or groups."""
    column = table[name]
    if _is_metadata(name) or is_group_name(name) or is_list(column.type):
        return False
    if not (is_text(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return False
    count = pc.count_distinct(column).as_py()
    return 1 < count <= min(_MOST_CLASSES, max(2, len(column) / 2))


def _is_number(name: str) -> bool:
    return re.fullmatch(r"[-+]?\d+([.,]\d*)?([eE][-+]?\d+)?", name.strip()) is not None


def _is_metadata(name: str) -> bool:
    return any(_METADATA.fullmatch(word) for word in re.split(r"[^a-z0-9]+", name.casefold()))


def _candidates(table: pa.Table, free: Sequence[str], *, beside_signal: bool) -> list[str]:
    """Columns that may be meant, with what they hold: those of classes first, few before many.
    Beside a signal, numbers that are called like metadata are none; in a table of numbers alone, a width is as good as
    any."""
    classes: list[tuple[int, str]] = []
    numbers: list[str] = []
    for name in free:
        column = table[name]
        if not (is_text(column.type) or is_number(column.type)) or is_time(name, column):
            continue
        count = pc.count_distinct(column).as_py()
        if 1 < count <= min(_MOST_CLASSES, max(2, len(column) / 2)):
            classes.append((count, f"{name} ({count} values)"))
            continue
        says_nothing = counts_rows(name, column) or (beside_signal and _is_metadata(name))
        if is_number(column.type) and count > 1 and not says_nothing:
            numbers.append(f"{name} (numbers)")
    classes.sort(key=lambda found: found[0])
    return [*(text for _, text in classes), *numbers][:_MOST_CANDIDATES]
