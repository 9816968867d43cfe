"""The files in tars as a table: a row for each example, a column for each ending; nothing in them is read."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...codecs import points, tars
from ...codecs import series as series_codec
from ...codecs.recordings import SUFFIXES as RECORDINGS
from ...errors import InputError
from ...files import ending
from ..recognition.recognise import CLOUDS, is_hidden

_MOST_ENDINGS = 64  # of the files of a data set
_OF_A_SYSTEM = np.frombuffer(b"__MACOSX", np.uint8)  # how names begin that belong to no example
ABSENT = -1  # as the size of a file that an example lacks


@dataclass(frozen=True)
class Shards:
    """Tars as one table.

    Attributes:
        tars: the files.
        tar: int32, n: the number of the tar that each example lies in.
        keys: bytes, n: what the names of an example's files have in common: all up to the first point.
        offsets: int64, n, by ending: where the file of an example begins in its tar.
        sizes: int64, n, by ending: how many bytes it has; -1: the example has none.
    """

    tars: tuple[Path, ...]
    tar: np.ndarray
    keys: np.ndarray
    offsets: dict[str, np.ndarray]
    sizes: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def endings(self) -> list[str]:
        """The endings, without the first point: ``jpg``, ``seg.png``."""
        return list(self.sizes)

    def members(self, endings: Sequence[str], kind: str, order: tuple[int, ...] | None = None) -> Members:
        """The files of each example that have one of these endings, of which an example has one.

        Args:
            kind: of signal that they hold.
            order: the permutation of the axes of arrays; None: as they are.
        """
        offsets, sizes = self.offsets[endings[0]].copy(), self.sizes[endings[0]].copy()
        which = np.zeros(len(self), np.int8)
        for number, name in enumerate(endings[1:], start=1):
            also = (sizes == ABSENT) & (self.sizes[name] != ABSENT)
            offsets[also], sizes[also], which[also] = self.offsets[name][also], self.sizes[name][also], number
        return Members(self.tars, self.tar, offsets, sizes, tuple(endings), which, kind, order)

    def contents(self, name: str) -> list[bytes | None]:
        """What the files of one ending hold: quick where they are small."""
        found: list[bytes | None] = [None] * len(self)
        offsets, sizes = self.offsets[name], self.sizes[name]
        for number, path in enumerate(self.tars):
            rows = np.flatnonzero((self.tar == number) & (sizes != ABSENT))
            if len(rows):
                where = zip(offsets[rows].tolist(), sizes[rows].tolist(), strict=True)
                for row, content in zip(rows.tolist(), tars.read_members(path, where), strict=True):
                    found[row] = content
        return found


class Members(Sequence[Any]):
    """Files in tars as raws, each read when it is needed: their bytes; arrays and records are decoded. None where an
    example has none. They are a few numbers each, so that they cost little to keep and to send to other processes."""

    def __init__(
        self,
        paths: tuple[Path, ...],
        tar: np.ndarray,
        offsets: np.ndarray,
        sizes: np.ndarray,
        endings: tuple[str, ...],
        which: np.ndarray,
        kind: str,
        order: tuple[int, ...] | None = None,
    ) -> None:
        self.paths, self.tar, self.offsets, self.sizes = paths, tar, offsets, sizes
        self.endings, self.which, self.kind, self.order = endings, which, kind, order

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, position: Any) -> Any:
        content = self.content(position)
        return None if content is None else raw_of(content, self.endings[self.which[position]], self.kind, self.order)

    def content(self, position: int) -> bytes | None:
        """The bytes of a file."""
        size = int(self.sizes[position])
        if size == ABSENT:
            return None
        return tars.read_member(self.paths[self.tar[position]], int(self.offsets[position]), size)


class Pairs(Sequence[Any]):
    """Two frames, and their flow where it is known, of each example.

    Args:
        roles: the files of the first frame, the second frame and the flow.
    """

    def __init__(self, roles: Sequence[Members]) -> None:
        self.roles = roles

    def __len__(self) -> int:
        return len(self.roles[0])

    def __getitem__(self, position: Any) -> Any:
        first, second, *flow = (role[position] for role in self.roles)
        return {"frames": (first, second), "flow": flow[0] if flow else None}


class Names(Sequence[str]):
    """What to call each example: its tar, and its key."""

    def __init__(self, called: Sequence[str], tar: np.ndarray, keys: np.ndarray) -> None:
        self.called, self.tar, self.keys = list(called), tar, keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, position: Any) -> Any:
        return f"{self.called[self.tar[position]]} {_text(self.keys[position])}"


def raw_of(content: bytes, name: str, kind: str, order: tuple[int, ...] | None = None) -> Any:
    """A file's content as a raw: bytes, or decoded where bytes alone do not say what they are.

    Args:
        name: its ending, without the point.
        kind: of signal that it holds.
        order: of the axes of an array; None: as they are.

    Raises:
        InputError: it cannot be decoded.

    >>> raw_of(b'{"age": 3}', "json", "table"), raw_of(b"...", "jpg", "image")
    ({'age': 3}, b'...')
    """
    suffix = ending(f"x.{name}")
    try:
        if suffix == ".npy":
            values = np.load(io.BytesIO(content), allow_pickle=False)
            if order is not None and values.ndim != len(order):
                raise InputError(f"an array of shape {values.shape}, where others have {len(order)} axes")
            return values if order is None else values.transpose(order)
        if suffix == ".json":
            return json.loads(content)
        if suffix == ".npz":
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                times = arrays["times"] if "times" in arrays.files else None
                channels = tuple(map(str, arrays["channels"])) if "channels" in arrays.files else ()
                return series_codec.Recording(arrays["values"], times, channels)
    except (ValueError, KeyError, EOFError, OSError) as error:
        raise InputError(f"the {suffix} file in the shard cannot be read ({error})") from None
    if suffix in RECORDINGS or kind == CLOUDS:
        with tempfile.TemporaryDirectory() as folder:  # libraries that read files by their paths alone
            path = Path(folder, f"x{suffix}")
            path.write_bytes(content)
            return series_codec.decode(path) if suffix in RECORDINGS else points.decode(path)
    return content


def index_shards(paths: Sequence[Path]) -> Shards:
    """The files in some tars, found by their headers. Those of one key in one tar are an example.

    Raises:
        InputError: a tar cannot be read, or names have so many endings that they do not say what is what.
    """
    keys: list[np.ndarray] = []
    parts: dict[str, list[np.ndarray]] = {}  # by ending: rows, offsets and sizes, tar by tar
    first = 0
    for path in paths:
        found = tars.members(path)
        is_named, stems, ends = _in_two(found.names)
        rows, row = _numbered(stems)
        numbers, number = _numbered(ends)
        table = np.stack((first + row, found.offsets[is_named], found.sizes[is_named]), axis=1)
        lower = np.array([_text(end).lower() for end in numbers.tolist()], dtype=object)
        for end in dict.fromkeys(lower.tolist()):
            parts.setdefault(end, []).append(table[np.isin(number, np.flatnonzero(lower == end))])
        if len(parts) > _MOST_ENDINGS:
            raise InputError(
                f"{path}: the names in it have {len(parts)} endings after their first point, such as "
                f"{', '.join(list(parts)[:3])}; the files of an example have one name up to that point, rename them"
            )
        keys.append(rows)
        first += len(rows)
    tar = np.repeat(np.arange(len(keys), dtype=np.int32), [len(words) for words in keys])
    offsets = {end: np.zeros(first, np.int64) for end in sorted(parts)}
    sizes = {end: np.full(first, ABSENT, np.int64) for end in sorted(parts)}
    for end, found_in in parts.items():
        for triples in found_in:
            offsets[end][triples[:, 0]], sizes[end][triples[:, 0]] = triples[:, 1], triples[:, 2]
    return Shards(tuple(paths), tar, np.concatenate(keys), offsets, sizes)


def _numbered(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different words in the order of their first occurrence, and the number of each word among them.

    >>> _numbered(np.array([b"jpg", b"jpg", b"cls", b"jpg"]))
    (array([b'jpg', b'cls'], dtype='|S3'), array([0, 0, 1, 0]))
    """
    is_new = np.ones(len(words), bool)
    is_new[1:] = words[1:] != words[:-1]  # the files of an example mostly follow one another
    runs, run = words[is_new], np.cumsum(is_new) - 1
    if (runs[1:] > runs[:-1]).all():  # the names in a tar mostly ascend, so that none comes twice
        return runs, run
    numbers: dict[bytes, int] = {}
    found = np.array([numbers.setdefault(word, len(numbers)) for word in runs.tolist()], np.int64)
    return np.array(list(numbers), words.dtype), found[run]


def _in_two(names: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which files have a name with an ending and do not belong to a system; of those, all up to the first point of the
    name, and what is behind it.

    >>> is_named, stems, endings = _in_two(np.array([b"a.b/1.seg.png", b"a.b/2", b"3.cls", b"__MACOSX/4.cls"]))
    >>> is_named.tolist(), stems.tolist(), endings.tolist()
    ([True, False, True, False], [b'a.b/1', b'3'], [b'seg.png', b'cls'])
    """
    letters = np.ascontiguousarray(names).view(np.uint8).reshape(len(names), names.dtype.itemsize)
    letters = letters[:, : int(np.flatnonzero(letters.any(0))[-1:].sum()) + 1]
    columns = np.arange(letters.shape[1])
    slash = np.where(letters == ord("/"), columns, -1).max(axis=1, initial=-1)
    is_point = (letters == ord(".")) & (columns > slash[:, None])
    point = is_point.argmax(axis=1)
    is_named = is_point.any(axis=1) & (point > slash + 1)
    if letters.shape[1] >= len(_OF_A_SYSTEM):
        is_named &= (letters[:, : len(_OF_A_SYSTEM)] != _OF_A_SYSTEM).any(axis=1)
    letters, point = letters[is_named], point[is_named, None]
    stems = np.where(columns < point, letters, 0).astype(np.uint8)
    behind = columns + point + 1
    ends = np.where(behind < len(columns), np.take_along_axis(letters, np.minimum(behind, len(columns) - 1), axis=1), 0)
    return is_named, _trimmed(stems), _trimmed(ends)


def _trimmed(letters: np.ndarray) -> np.ndarray:
    """A row of letters each as bytes, as long as the longest of them."""
    width = max(1, int((letters != 0).any(axis=0).sum()))
    return np.ascontiguousarray(letters[:, :width], np.uint8).view(f"S{width}").reshape(-1)


def folders_of(shards: Shards) -> list[tuple[str, ...]]:
    """The folders that the files of each example lie in inside of their tar, without those that all share."""
    if b"/" not in b"".join(shards.keys.tolist()):
        return [()] * len(shards)
    found = [tuple(_text(key).split("/")[:-1]) for key in shards.keys]
    shared = 0
    while all(len(parts) > shared and parts[shared] == found[0][shared] for parts in found):
        shared += 1
    return [parts[shared:] for parts in found]


def rows_with(shards: Shards, endings: Collection[str]) -> np.ndarray:
    """bool, n: whether an example has a file of one of these endings."""
    return np.logical_or.reduce([shards.sizes[name] != ABSENT for name in endings])


def visible(paths: Iterator[Path]) -> list[Path]:
    """Those tars that do not belong to the system, in order."""
    return sorted(path for path in paths if not is_hidden(path.name) and path.is_file())


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
