"""Any data set as WebDataset shards: tars that are read in order as fast as a disk gives them, and are few files."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..codecs import volumes
from ..codecs.raw import GZIP
from ..codecs.series import Recording
from ..codecs.tars import SUFFIX, TarWriter
from ..config import to_yaml
from ..errors import InputError
from ..files import ending
from .description import FILE_NAME, DataConfig, InputConfig, TargetConfig, in_split_order
from .examples import Examples
from .layouts.shard_labels import CLASS, RECORD
from .layouts.shards import PAIR
from .recognition.axes import AXES
from .recognition.recognise import PICTURES, SERIES, TEXT, VALUES, VOLUME
from .source import LABEL, Source
from .stores import check_problems

MEGABYTES = 256.0  # of a shard
ROLES = ("first", "second", "flow")  # of the files of a pair
_BLOCK = 64  # examples between two calls of progress
_LONGEST = 60  # letters of an example's own name in its key
_FILES = {  # kinds of signal -> the ending of their content, where nothing else says it
    PICTURES: (("\x89PNG", "png"), ("\xff\xd8", "jpg"), ("GIF8", "gif"), ("RIFF", "webp"), ("II*", "tif"), ("", "bmp")),
    "audio": (("RIFF", "wav"), ("fLaC", "flac"), ("OggS", "ogg"), ("", "mp3")),
    "video": (("RIFF", "avi"), ("\x1a\x45", "mkv"), ("", "mp4")),
    VOLUME: (("", "nii"),),
    TEXT: (("", "txt"),),
    SERIES: (("\x93NUMPY", "npy"), ("", "csv")),
}


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        folder: that holds the shards.
        shards: how many.
        examples: how many of each split.
        size: bytes of all shards.
        set_aside: a line for each example that could not be read.
    """

    folder: Path
    shards: int
    examples: Mapping[str, int]
    size: int
    set_aside: tuple[str, ...] = ()


@dataclass
class _Columns:
    """Where each signal is found, as far as examples were written: endings, or names in the ``.json`` files.

    Attributes:
        several: whether an example has several signals: then the name of each is in its endings.
        same: signals that are another one's files: the sound of films.
    """

    several: bool
    same: Mapping[str, str] = field(default_factory=dict)
    found: dict[str, dict[str, None]] = field(default_factory=dict)
    arrays: dict[str, int] = field(default_factory=dict)  # axes of the arrays of a signal

    def add(self, name: str, column: str) -> str:
        """Note a column of a signal."""
        self.found.setdefault(name, {})[column] = None
        return column

    def ending_of(self, name: str, suffix: str) -> str:
        """The ending of a signal's file."""
        return self.add(name, f"{re.sub(r'[^a-z0-9_]+', '_', name.lower())}.{suffix}" if self.several else suffix)

    def config(self, name: str, kind: str) -> InputConfig:
        """Where the signal is, for the description of the data."""
        columns = tuple(self.found.get(self.same.get(name, name), ()))
        axes = AXES[kind][: self.arrays[name]] if name in self.arrays and kind in AXES else None
        return InputConfig(kind=kind, column=columns[0] if len(columns) == 1 and kind != VALUES else columns, axes=axes)


def write_shards(
    source: Source, out: Path, *, megabytes: float = MEGABYTES, progress: Callable[[int, int], None] | None = None
) -> Written:
    """Write every example of a data set into shards, ``train-000000.tar`` and so on, with a ``dataset.yaml``: opened
    again, they are the same examples in the same order, with the same labels in the same splits.

    Files are copied as they are. What is no file becomes one: arrays ``.npy``, recordings ``.npz``, texts ``.txt``, the
    cells of tables ``.json``. A class is a number in a ``.cls`` file; tags and numbers are in the ``.json``. Everything
    is written into a temporary folder that gets its name last.

    Args:
        megabytes: after which a shard ends.
        progress: called with (done, total).

    Raises:
        InputError: ``out`` exists, more than 1 % of the examples cannot be read, or the disk is full.
    """
    if out.exists():
        raise InputError(f"{out}: it is there already; choose another folder, or remove it")
    if not megabytes > 0:
        raise InputError(f"--size {megabytes:g}: a shard holds more than 0 MB")
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    columns = _Columns(several=len(source.kinds) > 1, same=_same_files(source))
    total = sum(map(len, source.splits.values()))
    done, problems, counts = 0, list[str](), dict[str, int]()
    try:
        temporary.mkdir(parents=True)
        for split, examples in source.splits.items():
            with _Shards(temporary, split, round(megabytes * 1e6)) as shards:
                for index in range(len(examples)):
                    try:
                        files = _files_of(source, examples, index, columns)
                    except (InputError, OSError) as error:
                        problems.append(f"{examples.names[index]}: {error}")
                        check_problems(problems, met=done + 1, total=total)
                    else:
                        shards.add(f"{shards.examples:08}{_called(examples.names[index])}", files)
                    done += 1
                    if progress is not None and (done % _BLOCK == 0 or done == total):
                        progress(done, total)
            counts[split] = shards.examples
        (temporary / FILE_NAME).write_text(to_yaml(_description(source, columns), sparse=True), encoding="utf-8")
        tars = list(temporary.glob(f"*{SUFFIX}"))
        size = sum(path.stat().st_size for path in tars)
        temporary.rename(out)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror or error}); free space or choose another"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Written(out, len(tars), counts, size, tuple(problems))


class _Shards:
    """The shards of a split; a new one begins when one is full."""

    def __init__(self, folder: Path, split: str, size: int) -> None:
        self.folder, self.split, self.size = folder, split, size
        self.examples, self._number = 0, 0
        self._writer: TarWriter | None = None

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, key: str, files: Mapping[str, bytes]) -> None:
        """Write the files of an example, by their endings."""
        if self._writer is not None and self._writer.size >= self.size:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self._writer = TarWriter(self.folder / f"{self.split}-{self._number:06}{SUFFIX}")
            self._number += 1
        for name, content in files.items():
            self._writer.add(f"{key}.{name}", content)
        self.examples += 1


def _files_of(source: Source, examples: Examples, index: int, columns: _Columns) -> dict[str, bytes]:
    """The files of an example by their endings: its signals and its labels."""
    files: dict[str, bytes] = {}
    record: dict[str, Any] = {}
    for name, kind in source.kinds.items():
        raw = None if name in columns.same else examples.raws[name][index]
        if raw is None:
            continue
        if isinstance(raw, Mapping) and kind == PAIR:
            frames = [*raw["frames"], raw.get("flow")]
            for role, content in zip(ROLES, frames, strict=True):
                if content is not None:
                    suffix, data = _file(content, PICTURES, role == ROLES[2])
                    files[f"{columns.add(name, role)}.{suffix}"] = data
        elif isinstance(raw, Mapping):
            record |= {columns.add(name, str(column)): _plain(value) for column, value in raw.items()}
        elif kind == LABEL:
            record[columns.add(name, name)] = str(raw)
        else:
            suffix, data = _file(raw, kind)
            if suffix == "npy" and kind in AXES:
                columns.arrays[name] = np.load(io.BytesIO(data), allow_pickle=False).ndim
            files[columns.ending_of(name, suffix)] = data
    target = None if examples.targets is None else examples.targets[index]
    if target is not None and source.task == "classify":
        files[CLASS] = str(int(target)).encode()
    elif target is not None and (tags := _target_column(source)) is not None:
        entry = [name for name, has in zip(source.classes, target, strict=True) if has]
        record |= {tags: entry} if source.task == "tag" else dict(zip(tags, map(float, target), strict=True))
    if record or (not files and examples.targets is not None):
        files[RECORD] = json.dumps(record, ensure_ascii=False).encode()
    return files


def _file(raw: Any, kind: str, is_flow: bool = False) -> tuple[str, bytes]:
    """A signal as a file: the ending of its name, without a point, and its content."""
    if isinstance(raw, Path):
        if kind == VOLUME and ending(raw) == ".dcm":  # the slices of a folder are one volume
            return _file(np.moveaxis(volumes.decode(raw), 0, -1).squeeze(-1), kind)
        zipped = ".gz" if raw.name.lower().endswith(".gz") else ""
        return f"{ending(raw)[1:] or 'bin'}{zipped}", raw.read_bytes()
    if isinstance(raw, bytes):
        head = raw[:8].decode("latin-1")
        suffix = next((suffix for start, suffix in _FILES.get(kind, (("", "bin"),)) if head.startswith(start)), "bin")
        return f"{suffix}.gz" if raw.startswith(GZIP) else suffix, raw
    if isinstance(raw, str):
        return "txt", raw.encode("utf-8", "surrogateescape")
    content = io.BytesIO()
    if isinstance(raw, Recording):
        named: dict[str, Any] = {"values": raw.values, "channels": np.array(raw.channels, dtype=np.str_)}
        if raw.times is not None:
            named["times"] = raw.times
        np.savez(content, **named)
        return "npz", content.getvalue()
    array = np.asarray(raw)
    if array.dtype == object:
        raise InputError(f"a {type(raw).__name__} has no place in a shard")
    np.save(content, array, allow_pickle=False)
    return "npy", content.getvalue()


def _plain(value: Any) -> Any:
    """A cell of a table as JSON has it."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _target_column(source: Source) -> Any:
    """The names that labels have in the ``.json`` files: one of all tags, or one for each number."""
    taken = set(source.kinds) | {
        column for config in (source.description.inputs or {}).values() for column in _names(config.column)
    }

    def free(name: str) -> str:
        return name if name not in taken else free(f"{name}_target")

    if source.task == "tag":
        return free("tags")
    return tuple(map(free, source.classes)) if source.classes else None


def _names(column: str | tuple[str, ...] | None) -> Sequence[str]:
    return (column,) if isinstance(column, str) else column or ()


def _description(source: Source, columns: _Columns) -> DataConfig:
    """What finds the same examples in the shards."""
    column: Any = CLASS if source.task == "classify" else _target_column(source)
    if source.task == "regress" and len(column) == 1:
        column = column[0]
    labelled = any(examples.targets is not None for examples in source.splits.values())
    return DataConfig(
        layout="shards",
        inputs={name: columns.config(name, kind) for name, kind in source.kinds.items()},
        target=TargetConfig(
            column=column if labelled else None, task=source.task, classes=source.classes or None if labelled else None
        ),
        splits=in_split_order({split: f"{split}-*{SUFFIX}" for split in source.splits}),
        group="none",
        val=None if "val" in source.splits else 0.0,
    )


def _same_files(source: Source) -> dict[str, str]:
    """The signals whose files are those of another one, in every example: the sound of films."""
    splits = list(source.splits.values())
    same: dict[str, str] = {}
    for name in source.kinds:
        for other in source.kinds:
            if other != name and other not in same and name not in same and _are_paths(splits, name, other):
                same[name] = other
    return same


def _are_paths(splits: Sequence[Examples], name: str, other: str) -> bool:
    """Whether two signals are the same paths in every example."""
    pairs = (pair for part in splits for pair in zip(part.raws[name], part.raws[other], strict=True))
    return all(isinstance(first, Path) and first == second for first, second in pairs)


def _called(name: str) -> str:
    """An example's own name as a part of its key: letters, digits and lines."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", Path(name).with_suffix("").as_posix())[-_LONGEST:].strip("-")
    return f"-{words}" if words else ""
