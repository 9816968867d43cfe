"""Which column of a table plays which role: target, split, fold, group or input."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import InputError, did_you_mean
from ...tasks import TASKS
from ..assumptions import Assumption, listed
from ..description import NO_LABELS, DataConfig, InputConfig, TargetConfig, TaskName
from .axes import Reading
from .columns import (
    are_paths,
    bytes_of,
    first_values,
    is_bytes,
    is_list,
    is_number,
    is_prose,
    is_text,
    kind_of_column,
    reading_of_column,
    to_numpy,
)
from .groups import NO_GROUP, is_group_name, keeps_groups
from .recognise import HOLDS, SPLIT_WORDS, TEXT, VALUES, any_sound, check_kind, check_task, input_names
from .target_column import find_target, named_target


def find_roles(
    table: pa.Table,
    folder: Path,
    path: Path,
    description: DataConfig,
    *,
    split_names: np.ndarray | None = None,
    absent: str | None = None,
) -> tuple[DataConfig, tuple[Assumption, ...]]:
    """The description with every column's role in it, and what was guessed.

    Args:
        description: with the column of the splits, if there is one.
        split_names: the split of each row, where they are given.
        absent: the one column that a file of test rows lacks.

    Raises:
        InputError: a column of the description is not in the table, nothing says which is the target, or no column can
            be an input.
    """
    described = _with_named_columns(table, path, description)
    taken = {described.split, described.fold, described.group, *described.ignore}
    free = [name for name in table.column_names if name not in taken]
    chosen = {_check(table, path, name): check_kind(kind) for name, kind in (description.kinds or {}).items()}
    kinds = {name: chosen.get(name) or kind_of_column(name, table[name], folder) for name in free}
    kinds |= dict.fromkeys(set(_names_in_words(table, kinds)) - chosen.keys())
    has_signals = any(kind not in (None, VALUES) for name, kind in kinds.items() if name != described.target.column)
    beside = [name for name, kind in kinds.items() if kind in (None, VALUES)] if has_signals else []
    target, assumptions = find_target(table, path, described, absent=absent, beside_signal=beside)
    if description.target.column is None and (spoken := _in_words(table, folder, target)) is not None:
        text = f"{spoken!r}, which says in words what {target.column!r} says in numbers"
        assumptions = (Assumption("target", text, "--target COLUMN"),)
        target = replace(target, column=spoken)
    described = replace(described, target=target)
    group, assumed_group = _group(table, described, split_names)
    described = replace(described, group=group)
    if description.inputs is not None:
        taken |= {target.column, group} if isinstance(target.column, str) else {*(target.column or ()), group}
        signals = [name for name, kind in kinds.items() if kind not in (None, VALUES) and name not in taken]
        inputs = {
            name: _completed(table, folder, path, name, config, signals) for name, config in description.inputs.items()
        }
        inputs, _ = _with_axes(table, folder, inputs, table.column_names)
        return replace(described, inputs=inputs, kinds=None), (*assumptions, *assumed_group)
    targets = {target.column} if isinstance(target.column, str) else set(target.column or ())
    kinds = {name: kind for name, kind in kinds.items() if name not in targets | {group}}
    recurring = [name for name in kinds if name not in chosen and _recurs(table, name, split_names)]
    kinds = {name: None if name in recurring else kind for name, kind in kinds.items()}
    inputs, assumed_inputs = _inputs(table, folder, path, kinds, target, chosen)
    return replace(described, inputs=inputs, kinds=None), (*assumed_inputs, *assumptions, *assumed_group)


def _names_in_words(table: pa.Table, kinds: Mapping[str, str | None]) -> list[str]:
    """Columns of text that say no more than a name does, beside two or more plain columns and no other signal: the
    plain columns are the data then."""
    signals = {name for name, kind in kinds.items() if kind not in (None, VALUES)}
    plain = [name for name, kind in kinds.items() if kind == VALUES]
    if len(plain) < 2 or any(kinds[name] != TEXT for name in signals):
        return []
    return [name for name in signals if not is_prose(name, table[name])]


def split_column(table: pa.Table, path: Path, wanted: str | None) -> str | None:
    """The column that says which split a row belongs to: the wanted one, or one that is called so and speaks of a
    split for training.

    Raises:
        InputError: the wanted column is not there.
    """
    split = _named(table, path, wanted, ("split", "subset", "partition"))
    return split if split is None or wanted is not None or _speaks_of_splits(table[split]) else None


def _with_named_columns(table: pa.Table, path: Path, description: DataConfig) -> DataConfig:
    """The description with the column of folds; its other columns are checked.

    Raises:
        InputError: a column of the description is not there.
    """
    for name in (*description.ignore, *([] if description.group in (None, NO_GROUP) else [description.group])):
        _check(table, path, str(name))
    return replace(description, fold=_named(table, path, description.fold, ("fold",)))


def _group(
    table: pa.Table, description: DataConfig, split_names: np.ndarray | None
) -> tuple[str | None, tuple[Assumption, ...]]:
    """The column of groups: as described; else the first one that is called so, whose values many rows share and which
    do not recur across given splits."""
    if description.group is not None:
        return description.group, ()
    target = description.target
    for name in table.column_names:
        if name in (target.column, *description.ignore) or not is_group_name(name) or _echoes(table, name, target):
            continue
        column = table[name]
        if (is_text(column.type) or pa.types.is_integer(column.type)) and keeps_groups(to_numpy(column), split_names):
            text = f"{name!r} ({pc.count_distinct(column).as_py():,} values): its examples stay in one split"
            return name, (Assumption("group", f"{text}, and it is no input", "--group COLUMN or none"),)
    return None, ()


def _recurs(table: pa.Table, name: str, split_names: np.ndarray | None) -> bool:
    """Whether a column is called like groups that recur across the given splits: it is neither a group nor an input."""
    if split_names is None or not is_group_name(name) or is_list(table[name].type) or is_bytes(table[name].type):
        return False
    values = to_numpy(table[name])
    return keeps_groups(values, None) and not keeps_groups(values, split_names)


def _inputs(
    table: pa.Table,
    folder: Path,
    path: Path,
    kinds: Mapping[str, str | None],
    target: TargetConfig,
    chosen: Collection[str],
) -> tuple[dict[str, InputConfig], tuple[Assumption, ...]]:
    """The inputs: the signals; where there are none, the plain columns.

    Args:
        chosen: plain columns that are inputs in any case.

    Raises:
        InputError: there is neither.
    """
    signals = {name: kind for name, kind in kinds.items() if kind not in (None, VALUES)}
    plain = [name for name, kind in kinds.items() if kind == VALUES]
    echoes = [name for name in plain if _echoes(table, name, target)]
    values = tuple(name for name in plain if name in chosen or not (signals or name in echoes))
    if not signals and not values:
        _check_paths(table, folder, path)
        raise InputError(
            f"{path}: no column looks like an input (columns: {', '.join(table.column_names)}); "
            "name one in dataset.yaml, as in `inputs: {text: {kind: text, column: review}}`"
        )
    columns: dict[str, str | tuple[str, ...]] = {name: name for name in signals}
    found = {name: str(kind) for name, kind in signals.items()}
    if values:
        columns[VALUES], found[VALUES] = values, VALUES
    named = input_names(found)
    inputs = {named[name]: InputConfig(kind=kind, column=columns[name]) for name, kind in found.items()}
    for name, kind in found.items():  # the sound of films is a signal of its own
        sound = HOLDS.get(kind)
        if sound is not None and sound not in found.values() and _sounds(table[name], folder):
            inputs[f"{named[name]}_{sound}" if sound in inputs else sound] = InputConfig(kind=sound, column=name)
    inputs, assumptions = _with_axes(table, folder, inputs, chosen)
    if left_out := [name for name in kinds if name not in (*signals, *values)]:
        reasons = [f"{', '.join(echoes)} the same as the target {target.column!r}"] if echoes else []
        reasons += ["plain columns beside a signal are metadata"] if signals and set(plain) - {*echoes, *values} else []
        because = f" ({'; '.join(reasons)})" if reasons else ""
        assumptions.append(Assumption("left out", f"{listed(left_out)}{because}", "--kind COLUMN=KIND"))
    return inputs, tuple(assumptions)


def _check_paths(table: pa.Table, folder: Path, path: Path) -> None:
    """Refuse a table with a column of files of which none is there."""
    for name in table.column_names:
        values = first_values(table[name]) if is_text(table[name].type) else []
        if are_paths(values) and not any((folder / value).is_file() for value in values):
            raise InputError(
                f"{path}: column {name!r} names files that are not there, such as {values[0]}; paths are relative to "
                "the table's folder: write them so, or move the table"
            )


def _with_axes(
    table: pa.Table, folder: Path, inputs: Mapping[str, InputConfig], chosen: Collection[str]
) -> tuple[dict[str, InputConfig], list[Assumption]]:
    """The inputs with the axes of those that are arrays, and what each was taken for.

    Args:
        chosen: columns whose kind was not guessed.
    """
    found, assumptions = {}, []
    for name, config in inputs.items():
        reading = None
        if isinstance(config.column, str) and config.kind != VALUES:
            said = config if config.column in chosen else InputConfig()
            reading = reading_of_column(config.column, table[config.column], folder, said)
        found[name] = config if reading is None else replace(config, kind=reading.kind, axes=reading.axes)
        assumptions.append(_assumed(name, found[name], reading))
    return found, assumptions


def _assumed(name: str, config: InputConfig, reading: Reading | None) -> Assumption:
    """What an input was taken for."""
    if reading is not None and not reading.sure:
        text = f"{reading.kind}, column {config.column!r}, axes {' × '.join(reading.axes)} ({reading.reason})"
        return Assumption(name, text, "--kind COLUMN=KIND, --axes AXES")
    columns = (config.column,) if isinstance(config.column, str) else config.column or ()
    what = (
        f"{len(columns):,} columns: {listed(columns)}"
        if config.kind == VALUES
        else f"{config.kind}, column {columns[0]!r}"
    )
    return Assumption(name, what, "--ignore COLUMN" if config.kind == VALUES else "--ignore COLUMN, --kind COLUMN=KIND")


def _sounds(column: pa.ChunkedArray, folder: Path) -> bool:
    """Whether any of the films in a column has sound."""
    values = first_values(bytes_of(column) if is_bytes(column.type) else column)
    return any_sound([folder / value if isinstance(value, str) else value for value in values])


def has_named_target(table: pa.Table) -> bool:
    """Whether a column is called what targets are called."""
    return named_target(table.column_names) is not None


def _by_name(table: pa.Table, words: tuple[str, ...]) -> str | None:
    return next((name for word in words for name in table.column_names if name.casefold() == word), None)


def _check(table: pa.Table, path: Path, column: str) -> str:
    if column not in table.column_names:
        raise InputError(f"{path}: no column is called {column!r}; {did_you_mean(column, table.column_names)}")
    return column


def _named(table: pa.Table, path: Path, wanted: str | None, words: tuple[str, ...]) -> str | None:
    return _by_name(table, words) if wanted is None else _check(table, path, wanted)


def _speaks_of_splits(column: pa.ChunkedArray) -> bool:
    values = pc.unique(column).to_pylist()
    return any(isinstance(value, str) and SPLIT_WORDS.get(value.casefold()) == "train" for value in values)


def _in_words(table: pa.Table, folder: Path, target: TargetConfig) -> str | None:
    """The column that says in words what an integer target says in numbers, if there is one."""
    if not (isinstance(target.column, str) and pa.types.is_integer(table[target.column].type)):
        return None
    columns = (name for name in table.column_names if name != target.column and is_text(table[name].type))
    echoes = (name for name in columns if _echoes(table, name, target))
    return next((name for name in echoes if kind_of_column(name, table[name], folder) == VALUES), None)


def _completed(
    table: pa.Table, folder: Path, path: Path, name: str, config: InputConfig, signals: Sequence[str]
) -> InputConfig:
    """An input of the description with its column and kind filled in. One that names no column is the only signal."""
    is_only = config.column is None and name not in table.column_names and len(signals) == 1
    column = signals[0] if is_only else config.column or name
    for name_of_column in (column,) if isinstance(column, str) else column:
        _check(table, path, name_of_column)
    if config.kind is not None:
        return replace(config, column=column)
    kind = VALUES if not isinstance(column, str) else kind_of_column(column, table[column], folder)
    if kind is None:
        raise InputError(f"{path}: what column {column!r} holds cannot be guessed; say it under `inputs` as its kind")
    return replace(config, column=column, kind=kind)


def _is_numbers(task: TaskName | None) -> bool:
    """Whether the target is numbers, which no column repeats in other words."""
    return task is not None and task != NO_LABELS and TASKS[check_task(task)].label_type == "numbers"


def _echoes(table: pa.Table, name: str, target: TargetConfig) -> bool:
    """Whether a column is the target in other words, so that using it would give the answer away."""
    if not isinstance(target.column, str):
        return False
    column, labels = table[name], table[target.column]
    plain = (is_number(column.type) or is_text(column.type)) and not is_list(labels.type)
    if labels.null_count == len(labels) or not plain or _is_numbers(target.task):
        return False
    count = pc.count_distinct(labels).as_py()
    if not 1 < count <= len(labels) / 2 or pc.count_distinct(column).as_py() != count:
        return False
    pairs = pa.table({"one": column, "other": labels}).group_by(["one", "other"]).aggregate([])
    return len(pairs) == count
