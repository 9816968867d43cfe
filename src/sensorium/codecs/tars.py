"""Tar files: what is in them and where, without reading what the files in them hold; and writing them."""

from __future__ import annotations

import io
import mmap
import os
import struct
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError

SUFFIX = ".tar"
BLOCK = 512  # bytes that a header takes, and of which what follows it takes a whole number

# Name, size, type, magic and prefix of a header: what POSIX calls ustar, and GNU writes too.
_HEADER = struct.Struct("100s24x12s20xc100x6s82x155s12x")
_LONGEST_PLAIN_NAME, _DIGITS, _KIND, _PREFIX = 100, slice(124, 135), 156, 345  # where some of these are
_FILES, _LONG_NAME, _EXTENDED, _COMMON = b"0\0007", b"L", b"x", b"g"
_ZERO = ord("0")
_CHECKSUM = slice(148, 156)
_GZIP, _OTHERS = b"\x1f\x8b", (b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_WINDOW = 1 << 13  # blocks that are looked at together,
_SPARSE = 16  # as long as at least one in so many is a header
_LONGEST_NAME = 1 << 20  # bytes of a header's extension


@dataclass(frozen=True)
class Members:
    """The files in a tar, in their order.

    Attributes:
        names: bytes, n.
        offsets: int64, n: where the content of each begins.
        sizes: int64, n: in bytes.
    """

    names: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


def members(path: Path) -> Members:
    """The files in a tar. Only headers are read, so a tar of a million files takes seconds, whatever they hold. Folders
    and links may be left out.

    Raises:
        InputError: it cannot be read, is compressed, damaged or cut short.
    """
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            if not total:
                raise InputError(f"{path}: the file is empty; copy it again or remove it")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _check_plain(path, content)
                dense, start = _dense_members(content, total)
                rest = list(_members(path, content, total, start))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    names, offsets, sizes = zip(*rest, strict=True) if rest else ((), (), ())
    others = Members(np.array(names, np.bytes_), np.array(offsets, np.int64), np.array(sizes, np.int64))
    return Members(*(np.concatenate([getattr(part, name) for part in (*dense, others)]) for name in vars(others)))


def read_member(path: str | Path, offset: int, size: int) -> bytes:
    """The content of a file in a tar. Nothing stays open, so that threads and processes may share what calls it.

    Raises:
        OSError: it cannot be read, or is shorter than it was.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        content = os.pread(handle, size, offset)
        while len(content) < size and (more := os.pread(handle, size - len(content), offset + len(content))):
            content += more
    finally:
        os.close(handle)
    if len(content) < size:
        raise OSError(f"{path} is shorter than it was")
    return content


def read_members(path: Path, ranges: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The contents at these offsets, of these sizes: quicker than one by one where they are many and small."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for offset, size in ranges:
            yield content[offset : offset + size]


class TarWriter:
    """Writes files into a tar, one after the other; always the same bytes for the same files.

    Args:
        path: of the tar; it is written in place.
    """

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by ``close``

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._tar.offset

    def add(self, name: str, content: bytes) -> None:
        """Add a file."""
        header = tarfile.TarInfo(name)
        header.size, header.mode = len(content), 0o644
        self._tar.addfile(header, io.BytesIO(content))

    def close(self) -> None:
        """Write the end of the tar."""
        self._tar.close()


def _check_plain(path: Path, content: mmap.mmap) -> None:
    """Refuse what is no tar."""
    head = content[:BLOCK]
    if head.startswith((_GZIP, *_OTHERS)):
        cure = f"decompress it first (gunzip {path.name})" if head.startswith(_GZIP) else "decompress it first"
        raise InputError(f"{path}: it is compressed, and files in it can only be reached in an open tar; {cure}")
    if len(head) < BLOCK or not _is_header(head):
        raise InputError(f"{path}: this is not a tar, or it is damaged; copy it again or remove it")


def _is_header(head: bytes) -> bool:
    """Whether a block's checksum is right; blocks of zeros end a tar."""
    if not any(head):
        return True
    try:
        announced = int(head[_CHECKSUM].split(b"\0")[0] or b"0", 8)
    except ValueError:
        return False
    return sum(head[: _CHECKSUM.start]) + 8 * ord(" ") + sum(head[_CHECKSUM.stop :]) == announced


def _dense_members(content: mmap.mmap, total: int) -> tuple[list[Members], int]:
    """The files from the beginning of a tar, as long as they are small and their headers plain, and where the others
    begin. Many headers at a time: a tenth of the time of one by one."""
    # A file object's memory may not be closed while an array looks into it; these arrays are gone by then.
    blocks = np.frombuffer(content, np.uint8, total // BLOCK * BLOCK).reshape(-1, BLOCK)
    found: list[Members] = []
    first = 0  # the block of the next header
    while first < len(blocks):
        window = blocks[first : first + _WINDOW]
        digits = window[:, _DIGITS].astype(np.int64) - _ZERO
        sizes = digits @ 8 ** np.arange(10, -1, -1)
        is_plain = ((digits >= 0) & (digits < 8)).all(1)
        is_plain &= (window[:, _KIND] == _ZERO) & (window[:, _PREFIX] == 0) & (window[:, 0] != 0)
        is_plain &= (np.arange(first + 1, first + 1 + len(window)) * BLOCK + sizes) <= total
        steps = np.where(is_plain, 1 + (sizes + BLOCK - 1) // BLOCK, 0).tolist()
        chosen, block = [], 0
        while block < len(steps) and steps[block]:
            chosen.append(block)
            block += steps[block]
        offsets = (first + np.array(chosen, np.int64) + 1) * BLOCK
        found.append(Members(_plain_names(window[chosen, :_LONGEST_PLAIN_NAME]), offsets, sizes[chosen]))
        first += block
        if len(chosen) * _SPARSE < len(window):
            break
    return found, first * BLOCK


def _plain_names(letters: np.ndarray) -> np.ndarray:
    """The names in headers, n × 100 letters, as bytes of the length of the longest one."""
    width = max(1, int(np.flatnonzero(letters.any(0))[-1:].sum()) + 1)
    names = np.ascontiguousarray(letters[:, :width])
    dotted = (names[:, :2] == (ord("."), ord("/"))).all(1)
    names[dotted, :-2], names[dotted, -2:] = names[dotted, 2:], 0
    names[np.maximum.accumulate(names == 0, axis=1)] = 0  # a name ends at the first zero
    return names.view(f"S{width}").reshape(-1)


def _members(path: Path, content: mmap.mmap, total: int, start: int) -> Iterator[tuple[bytes, int, int]]:
    """The name, offset and size of each file from an offset on."""
    extended: dict[str, bytes] = {}  # of the next file
    while start + BLOCK <= total:
        stored, octal, kind, magic, prefix = _HEADER.unpack_from(content, start)
        if not stored[0] and not any(content[start : start + BLOCK]):
            return
        try:
            size = int(octal[:11], 8) if octal[0] == _ZERO else _size(octal)
            size = int(extended.pop("size", size)) if extended else size
        except ValueError:
            raise InputError(f"{path}: its header at byte {start:,} is damaged; copy it again") from None
        begin = start + BLOCK
        if begin + size > total:
            raise InputError(f"{path}: it is cut short at byte {total:,}; copy it again")
        if kind == b"0" and not extended and not prefix[0]:  # most of them
            yield stored.split(b"\0", 1)[0].removeprefix(b"./"), begin, size
        elif kind in (_LONG_NAME, _EXTENDED):
            if size > _LONGEST_NAME:
                raise InputError(f"{path}: its header at byte {start:,} is damaged; copy it again")
            extended |= _extension(kind, content[begin : begin + size])
        elif kind in _FILES:
            name = extended.pop("path", None) or _name(stored, prefix if magic == b"ustar\0" else b"")
            extended.clear()
            if not name.endswith(b"/"):
                yield name.removeprefix(b"./"), begin, size
        elif kind != _COMMON:
            extended.clear()
        start = begin + (size + BLOCK - 1) // BLOCK * BLOCK
    if start < total:
        raise InputError(f"{path}: it is cut short at byte {total:,}; copy it again")


def _size(octal: bytes) -> int:
    """A size that is not written in the usual digits: with spaces before it, or in binary where it is too large."""
    return int(octal.strip(b" \0") or b"0", 8) if octal[0] < 128 else int.from_bytes(octal[1:], "big")


def _name(stored: bytes, prefix: bytes) -> bytes:
    """The name in a header; a long one is in two parts."""
    name = stored.split(b"\0", 1)[0]
    if prefix and prefix[0]:
        name = prefix.split(b"\0", 1)[0] + b"/" + name
    return name


def _extension(kind: bytes, content: bytes) -> dict[str, bytes]:
    """The name and size of the next file that a header has no room for: GNU's long name, or the records of POSIX, each
    a length, a space, ``key=value`` and an end of line."""
    if kind == _LONG_NAME:
        return {"path": content.split(b"\0", 1)[0]}
    found = {}
    while content:
        length, _, _ = content.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(content):
            break
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        if key in (b"path", b"size"):
            found[key.decode()] = value
        content = content[int(length) :]
    return found
