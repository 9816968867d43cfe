"""Tables in long format, a row for each step of a recording -> series; long recordings are cut into windows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...codecs.series import counts_steps, is_time, seconds
from ...errors import InputError, did_you_mean
from ..assumptions import Assumption
from ..description import NO_LABELS, DataConfig, InputConfig, TargetConfig
from ..examples import Listing
from ..recognition.columns import are_paths, counts_up, first_values, is_bytes, is_list, is_number, is_text, to_numpy
from ..recognition.groups import NO_GROUP, is_group_name
from ..recognition.recognise import SERIES, needs_labels
from ..recognition.target_column import find_target, named_target
from .windows import Windows, assumed_windows, window_of, windows_of

FILE = "(file)"  # as a description's ``recording``: each file is one
_FEWEST_STEPS = 8  # that recordings have on average; shorter ones are rows that only share a value
_RECORDING = re.compile(
    r"(.*[^a-z])?(recording|rec|series|sequence|seq|trial|session|clip|segment|measurement|experiment|episode|track|run|"
    r"take)s?([^a-z].*)?"
)


@dataclass(frozen=True)
class LongFormat:
    """Which columns make a table one of recordings.

    Attributes:
        time: the column with the time of each step.
        recording: the column with the recording of each step, or ``FILE``.
    """

    time: str
    recording: str


def find_long_format(table: pa.Table, description: DataConfig, num_files: int) -> LongFormat | None:
    """The columns that make a table one of recordings; None: each of its rows is an example by itself.

    A table is in long format if it has a time and a recording (a column that is called so, a group such as a person, or
    a file), and neither the recording nor the label changes within eight steps on average; or if the description says
    so.

    Raises:
        InputError: a column of the description is not there.
    """
    is_described = description.time is not None or description.window or _kinds(description) == {SERIES}
    for column in (description.time, description.recording):
        if column not in (None, FILE, *table.column_names):
            raise InputError(f"no column is called {column!r}; {did_you_mean(str(column), table.column_names)}")
    if any(is_bytes(column.type) or is_list(column.type) or _holds_paths(column) for column in table.columns):
        return None
    names = [name for name in table.column_names if name not in description.ignore]
    recording = description.recording or _recording_column(table, description)
    in_any_order = recording is not None  # rows of a recording can be put in order by time
    time = description.time or next((name for name in names if is_time(name, table[name], falls=in_any_order)), None)
    time = time or next((name for name in names if counts_steps(name, table[name])), None)
    if time is None:
        if is_described and description.window:
            raise InputError(
                "there is no column of times to cut windows along; call it time, or say which in dataset.yaml"
            )
        return None
    if recording is None and num_files > 1:
        recording = FILE
    if recording is None:
        return LongFormat(time, FILE) if is_described else None
    if is_described:
        return LongFormat(time, recording)
    return LongFormat(time, recording) if _has_steps(table, time, recording, description, num_files) else None


def _has_steps(table: pa.Table, time: str, recording: str, description: DataConfig, num_files: int) -> bool:
    """Whether rows, put in order of their recording and time, are steps: neither the recording nor the label changes
    within eight of them on average."""
    target = description.target.column or named_target(table.column_names)
    changing = [_column(table, name) for name in (recording, target) if isinstance(name, str) and name != FILE]
    times = seconds(table[time])
    order = np.arange(len(times)) if recording == FILE else _order(changing[0].astype(str), times)
    is_new = np.zeros(len(times) - 1, dtype=bool)
    for column in changing:
        ordered = column.astype(str)[order]
        is_new |= ordered[1:] != ordered[:-1]
    return len(table) >= _FEWEST_STEPS * (num_files + int(is_new.sum()))


def _holds_paths(column: pa.ChunkedArray) -> bool:
    """Whether cells are paths: then a row is a file, and no step."""
    return is_text(column.type) and are_paths(first_values(column))


def _kinds(description: DataConfig) -> set[str | None]:
    return {config.kind for config in (description.inputs or {}).values()}


def _recording_column(table: pa.Table, description: DataConfig) -> str | None:
    """The column that is called like recordings; else one called like groups."""
    taken = {description.target.column, description.split, description.fold, *description.ignore}
    free = [name for name in table.column_names if name not in taken and not pa.types.is_floating(table[name].type)]
    named = [name for name in free if _RECORDING.fullmatch(name.casefold())]
    return next(iter(named or [name for name in free if is_group_name(name)]), None)


def list_recordings(
    table: pa.Table,
    found: LongFormat,
    path: Path,
    files: np.ndarray,
    split_names: np.ndarray | None,
    description: DataConfig,
) -> Listing:
    """A listing of a table in long format: an example for each recording, or for each window of one.

    Args:
        files: (rows,), the file of each row.
        split_names: (rows,), the split of each row, or None.

    Raises:
        InputError: no labels or channels, a time that is missing, or recordings whose times fall all the time.
    """
    target, assumptions = find_target(table, path, description)
    times = seconds(table[found.time])
    recording = files if found.recording == FILE else _of_each_file(_column(table, found.recording), files, times)
    group = _group_column(table, description, found, recording)
    targets = (target.column,) if isinstance(target.column, str) else target.column or ()
    roles = {found.time, found.recording, group, description.split, description.fold, *description.ignore, *targets}
    channels, labels = _channels(table, description, roles, path), _labels(table, target.column)
    varies = needs_labels(target.task) and _varies(labels, recording)
    breaks = [recording, *([] if split_names is None else [split_names]), *([labels.astype(str)] if varies else [])]
    cut = _cut(breaks, times, description, varies=varies)
    if len(cut.starts) > 1 and cut.steps < _FEWEST_STEPS / 2:
        raise _no_recordings(path, found, target)
    firsts = cut.order[cut.starts]
    names = [f"{recording[row]} row {row + 1}" for row in firsts.tolist()] if cut.window else recording[firsts].tolist()
    name, config = next(iter((description.inputs or {}).items()), (SERIES, InputConfig()))
    groups = _column(table, group)[firsts] if group else recording[firsts] if cut.window else None
    return Listing(
        kinds={name: SERIES},
        raws={name: cut.windows(_matrix(table, channels), channels)},
        names=names,
        labels=labels[firsts],
        split_names=None if split_names is None else split_names[firsts],
        folds=_column(table, description.fold)[firsts] if description.fold else None,
        groups=None if description.group == NO_GROUP else groups,
        description=replace(
            description,
            layout="table",
            inputs={name: replace(config, kind=SERIES, column=channels)},
            target=target,
            time=found.time,
            recording=found.recording,
            group=group or description.group,
            window=cut.window,
            hop=cut.hop if cut.window else None,
        ),
        assumptions=(
            _assumed_recordings(name, channels, found, len(np.unique(recording))),
            *assumptions,
            *_assumed_rest(table, description, group, roles | set(channels)),
            *assumed_windows(cut.window, cut.hop, cut.reason),
        ),
    )


def unlabelled_recordings(table: pa.Table, path: Path, description: DataConfig) -> tuple[Sequence[Any], Sequence[str]]:
    """The recordings in a table for a trained model, and their names: cut as the data that it was trained on.

    Args:
        description: of the data it was trained on, with the column of times.

    Raises:
        InputError: a channel is missing, or a time.
    """
    recording = description.recording if description.recording in table.column_names else FILE
    channels = next(iter((description.inputs or {}).values()), InputConfig()).column or ()
    for name in channels:
        if name not in table.column_names:
            raise InputError(f"{path}: no column is called {name!r}; {did_you_mean(name, table.column_names)}")
    described = replace(
        description, target=TargetConfig(task=NO_LABELS), split=None, splits=None, fold=None, group=NO_GROUP
    )
    found = LongFormat(str(description.time), recording or FILE)
    listing = list_recordings(table, found, path, np.full(len(table), path.stem), None, described)
    return next(iter(listing.raws.values())), listing.names


def _no_recordings(path: Path, found: LongFormat, target: TargetConfig) -> InputError:
    return InputError(
        f"{path}: {found.time!r} falls, or {target.column!r} changes, every few rows; sort the rows by recording "
        f"and time, or say --ignore {found.time} to take each row as an example"
    )


@dataclass(frozen=True)
class _Cut:
    """A long table cut into stretches.

    Attributes:
        order: of the rows, so that those of one recording follow one another.
        times: of the rows in that order.
        starts, ends: of the stretches: windows, where there are any.
        steps: how long a stretch is on average before it is cut into windows.
        window, hop: steps of a window (0: there are none), and from one to the next.
        reason: why there are windows.
    """

    order: np.ndarray
    times: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    steps: float
    window: int
    hop: int
    reason: str

    def windows(self, values: np.ndarray, channels: tuple[str, ...]) -> Windows:
        """The stretches of a matrix, rows × channels."""
        return Windows(values[self.order], self.times, channels, self.starts, self.ends)


def _cut(breaks: Sequence[np.ndarray], times: np.ndarray, description: DataConfig, *, varies: bool) -> _Cut:
    """The stretches of a table.

    Args:
        breaks: columns, of which none changes within a stretch; the first one is the recording.
        times: (rows,).
        varies: whether labels change within recordings.
    """
    order = _order(breaks[0], times)
    starts, ends = _stretches([column[order] for column in breaks], times[order])
    steps = len(times) / len(starts)
    window, hop, reason = window_of(description, ends - starts, varies=varies)
    if window:
        starts, ends = windows_of(starts, ends, window, hop)
    return _Cut(order, times[order], starts, ends, steps, window, hop, reason)


def _assumed_recordings(name: str, channels: tuple[str, ...], found: LongFormat, count: int) -> Assumption:
    whose = "each file" if found.recording == FILE else f"each {found.recording!r}"
    text = (
        f"series of {', '.join(channels)}: a row is a step at {found.time!r}, {whose} a recording ({count:,} of them)"
    )
    return Assumption(name, text, f"--ignore COLUMN; --ignore {found.time}: a row is an example")


def _assumed_rest(
    table: pa.Table, description: DataConfig, group: str | None, used: set[str | None]
) -> list[Assumption]:
    """The guessed group, and the columns that are left out."""
    found = []
    if group is not None and description.group is None:
        found.append(Assumption("group", f"{group!r}: its examples stay in one split", "--group COLUMN or none"))
    left_out = [name for name in table.column_names if name not in used]
    if left_out:
        found.append(Assumption("left out", ", ".join(left_out), "inputs in dataset.yaml"))
    return found


def _of_each_file(recording: np.ndarray, files: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The recording of each row; with the name of its file, where files call recordings of their own by the same names:
    their times overlap."""
    recording = recording.astype(str)
    both = np.char.add(np.char.add(files.astype(str), " "), recording)
    _, names = np.unique(recording, return_inverse=True)
    keys, firsts, numbers = np.unique(both, return_index=True, return_inverse=True)
    begins, ends = np.full(len(keys), np.inf), np.full(len(keys), -np.inf)
    np.minimum.at(begins, numbers, times)
    np.maximum.at(ends, numbers, times)
    order = np.lexsort((begins, names[firsts]))
    of_name = names[firsts][order]
    overlap = (of_name[1:] == of_name[:-1]) & (begins[order][1:] <= ends[order][:-1])
    return both if overlap.any() else recording


def _group_column(table: pa.Table, description: DataConfig, found: LongFormat, recording: np.ndarray) -> str | None:
    """The column of groups: as described; else one that is called so and does not change within a recording."""
    if description.group is not None:
        return None if description.group == NO_GROUP else description.group
    for name in table.column_names:
        is_free = name not in (description.target.column, found.recording) and is_group_name(name)
        if is_free and len(table[name].unique()) > 1 and not _varies(_column(table, name), recording):
            return name
    return None


def _channels(table: pa.Table, description: DataConfig, roles: set[str | None], path: Path) -> tuple[str, ...]:
    """The columns that are measurements: those of the description, or all numbers without another role."""
    described = next(iter((description.inputs or {}).values()), InputConfig()).column
    if described is not None:
        return (described,) if isinstance(described, str) else described
    free = [name for name in table.column_names if name not in roles and is_number(table[name].type)]
    channels = tuple(name for name in free if not is_group_name(name) and not counts_up(table[name]))
    if not channels:
        raise InputError(f"{path}: no column of numbers is left for the channels; correct --ignore")
    return channels


def _column(table: pa.Table, name: str) -> np.ndarray:
    return to_numpy(table[name])


def _labels(table: pa.Table, column: str | tuple[str, ...] | None) -> np.ndarray:
    """(rows,) or rows × targets."""
    if column is None:
        return np.full(len(table), None)
    if isinstance(column, tuple):
        return np.stack([_column(table, name) for name in column], axis=1)
    return _column(table, column)


def _matrix(table: pa.Table, channels: tuple[str, ...]) -> np.ndarray:
    """float32, rows × channels; NaN where a cell is empty."""
    columns = [table[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in channels]
    return np.stack(columns, axis=1).astype(np.float32)


def _varies(values: np.ndarray, recording: np.ndarray) -> bool:
    """Whether a value changes within a recording."""
    if values.ndim > 1:
        return any(_varies(column, recording) for column in values.T)
    pairs = set(zip(recording.tolist(), values.astype(str).tolist(), strict=True))
    return len(pairs) > len(np.unique(recording))


def _order(recording: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The rows with those of one recording after one another: as they are, or, where recordings are mixed, by time."""
    names, firsts, numbers = np.unique(recording, return_index=True, return_inverse=True)
    changes = int((numbers[1:] != numbers[:-1]).sum())
    if changes < len(names):
        return np.arange(len(recording))
    return np.lexsort((times, firsts[numbers]))


def _stretches(breaks: Sequence[np.ndarray], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each stretch in which nothing of ``breaks`` changes and time does not fall, and the row after
    its last one."""
    is_new = times[1:] < times[:-1]
    for column in breaks:
        is_new = is_new | (column[1:] != column[:-1])
    starts = np.flatnonzero(np.r_[True, is_new])
    return starts, np.r_[starts[1:], len(times)]
