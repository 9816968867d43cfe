"""Which column of a table plays which role: target, split, fold, group or input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError, did_you_mean
from ..tasks import TASKS
from .columns import are_paths, bytes_of, first_values, is_bytes, is_list, is_number, is_text, kind_of_column
from .description import NO_LABELS, DataConfig, InputConfig, TargetConfig, TaskName
from .recognise import HOLDS, SPLIT_WORDS, TARGET_WORDS, VALUES, any_sound, check_task, input_names


def find_roles(table: pa.Table, folder: Path, path: str, description: DataConfig) -> tuple[DataConfig, tuple[str, ...]]:
    """The description with every column's role in it, and warnings.

    Raises:
        InputError: a column of the description is not in the table, or no column can be an input.
    """
    target, warnings = _target(table, path, description.target)
    if description.target.column is None and (spoken := _in_words(table, folder, target)) is not None:
        target = replace(target, column=spoken)
    targets = {target.column} if isinstance(target.column, str) else set(target.column or ())
    split = _named(table, path, description.split, ("split", "subset", "partition"))
    if split and not description.split and not _speaks_of_splits(table[split]):
        split = None
    fold = _named(table, path, description.fold, ("fold",))
    group = _named(table, path, description.group, ("group",))
    described = replace(description, target=target, split=split, fold=fold, group=group)
    if description.inputs is not None:
        inputs = {name: _completed(table, folder, path, name, config) for name, config in description.inputs.items()}
        return replace(described, inputs=inputs), warnings
    free = [name for name in table.column_names if name not in targets | {split, fold, group}]
    kinds = {name: kind_of_column(name, table[name], folder) for name in free}
    echoes = {name for name, kind in kinds.items() if kind == VALUES and _echoes(table, name, target)}
    kinds |= dict.fromkeys(echoes)
    left_out = [name for name, kind in kinds.items() if kind is None]
    if left_out:
        because = f" ({', '.join(sorted(echoes))}: the same as the target {target.column!r})" if echoes else ""
        warnings += (f"columns not used as inputs: {', '.join(left_out)}{because}",)
    signals = {name: kind for name, kind in kinds.items() if kind is not None and kind != VALUES}
    values = tuple(name for name, kind in kinds.items() if kind == VALUES)
    if not signals and not values:
        raise InputError(
            f"{path}: no column looks like an input (columns: {', '.join(table.column_names)}); "
            "name one in dataset.yaml, as in `inputs: {text: {kind: text, column: review}}`"
        )
    columns: dict[str, str | tuple[str, ...]] = {
        **{name: name for name in signals},
        **({VALUES: values} if values else {}),
    }
    kinds = {**signals, **({VALUES: VALUES} if values else {})}
    named = input_names({name: str(kind) for name, kind in kinds.items()})
    inputs = {named[name]: InputConfig(kind=kinds[name], column=columns[name]) for name in kinds}
    for name, kind in signals.items():  # the sound of films is a signal of its own
        sound = HOLDS.get(kind)
        if sound is not None and sound not in kinds.values() and _sounds(table[name], folder):
            inputs[f"{named[name]}_{sound}" if sound in inputs else sound] = InputConfig(kind=sound, column=name)
    return replace(described, inputs=inputs), warnings


def _sounds(column: pa.ChunkedArray, folder: Path) -> bool:
    """Whether any of the films in a column has sound."""
    values = first_values(bytes_of(column) if is_bytes(column.type) else column)
    return any_sound([folder / value if isinstance(value, str) else value for value in values])


def has_named_target(table: pa.Table) -> bool:
    """Whether a column is called what targets are called."""
    return _by_name(table, TARGET_WORDS) is not None


def _by_name(table: pa.Table, words: tuple[str, ...]) -> str | None:
    return next((name for word in words for name in table.column_names if name.casefold() == word), None)


def _check(table: pa.Table, path: str, column: str) -> str:
    if column not in table.column_names:
        raise InputError(f"{path}: no column is called {column!r}; {did_you_mean(column, table.column_names)}")
    return column


def _named(table: pa.Table, path: str, wanted: str | None, words: tuple[str, ...]) -> str | None:
    return _by_name(table, words) if wanted is None else _check(table, path, wanted)


def _speaks_of_splits(column: pa.ChunkedArray) -> bool:
    values = pc.unique(column).to_pylist()
    return any(isinstance(value, str) and SPLIT_WORDS.get(value.casefold()) == "train" for value in values)


def _target(table: pa.Table, path: str, target: TargetConfig) -> tuple[TargetConfig, tuple[str, ...]]:
    if target.column is not None:
        for column in (target.column,) if isinstance(target.column, str) else target.column:
            _check(table, path, column)
        return target, ()
    if (named := _by_name(table, TARGET_WORDS)) is not None:
        return replace(target, column=named), ()
    last = str(table.column_names[-1])
    if target.task == NO_LABELS and is_text(table[last].type) and are_paths(first_values(table[last])):
        return target, ()
    if not (is_number(table[last].type) or is_text(table[last].type)):
        raise InputError(
            f"{path}: which column is the target? (columns: {', '.join(table.column_names)}); "
            "name it in dataset.yaml, as in `target: {column: label}`"
        )
    return replace(target, column=last), (
        f"no column is called label or target: the last one, {last!r}, is the target",
    )


def _in_words(table: pa.Table, folder: Path, target: TargetConfig) -> str | None:
    """The column that says in words what an integer target says in numbers, if there is one."""
    if not (isinstance(target.column, str) and pa.types.is_integer(table[target.column].type)):
        return None
    columns = (name for name in table.column_names if name != target.column and is_text(table[name].type))
    echoes = (name for name in columns if _echoes(table, name, target))
    return next((name for name in echoes if kind_of_column(name, table[name], folder) == VALUES), None)


def _completed(table: pa.Table, folder: Path, path: str, name: str, config: InputConfig) -> InputConfig:
    """An input of the description with its column and kind filled in."""
    column = config.column or name
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
    if not plain or _is_numbers(target.task):
        return False
    count = pc.count_distinct(labels).as_py()
    if not 1 < count <= len(labels) / 2 or pc.count_distinct(column).as_py() != count:
        return False
    pairs = pa.table({"one": column, "other": labels}).group_by(["one", "other"]).aggregate([])
    return len(pairs) == count
