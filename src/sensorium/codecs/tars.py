"""Tar files: what is in them and where, without reading what the files in them hold; and writing them."""

from __future__ import annotations

import io
import mmap
import os
import struct
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from ..errors import InputError

SUFFIX = ".tar"
BLOCK = 512  # bytes that a header takes, and of which what follows it takes a whole number

# Name, size, type, magic and prefix of a header: what POSIX calls ustar, and GNU writes too.
_HEADER = struct.Struct("100s24x12s20xc100x6s82x155s12x")
_FILES, _LONG_NAME, _EXTENDED, _COMMON = b"0\0007", b"L", b"x", b"g"
_ZERO = ord("0")
_CHECKSUM = slice(148, 156)
_GZIP, _OTHERS = b"\x1f\x8b", (b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_LONGEST_NAME = 1 << 20  # bytes of a header's extension

Member: TypeAlias = tuple[str, int, int]  # name, offset of its content, size of it


def members(path: Path) -> Iterator[Member]:
    """The name of each file in a tar, and the offset and size of its content in bytes. Only headers are read, so a tar
    of a million files takes seconds, whatever they hold. Folders and links are left out.

    Raises:
        InputError: it cannot be read, is compressed, damaged or cut short.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if not size:
                raise InputError(f"{path}: the file is empty; copy it again or remove it")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _check_plain(path, content)
                yield from _members(path, content, size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


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


def _members(path: Path, content: mmap.mmap, total: int) -> Iterator[Member]:
    start = 0
    extended: dict[str, str] = {}  # of the next file
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
            name = stored.rstrip(b"\0").decode("utf-8", "surrogateescape")
            yield name[2:] if name.startswith("./") else name, begin, size
        elif kind in (_LONG_NAME, _EXTENDED):
            if size > _LONGEST_NAME:
                raise InputError(f"{path}: its header at byte {start:,} is damaged; copy it again")
            extended |= _extension(kind, content[begin : begin + size])
        elif kind in _FILES:
            name = extended.pop("path", None) or _name(stored, prefix if magic == b"ustar\0" else b"")
            extended.clear()
            if not name.endswith("/"):
                yield name.removeprefix("./"), begin, size
        elif kind != _COMMON:
            extended.clear()
        start = begin + (size + BLOCK - 1) // BLOCK * BLOCK
    if start < total:
        raise InputError(f"{path}: it is cut short at byte {total:,}; copy it again")


def _size(octal: bytes) -> int:
    """A size that is not written in the usual digits: with spaces before it, or in binary where it is too large."""
    return int(octal.strip(b" \0") or b"0", 8) if octal[0] < 128 else int.from_bytes(octal[1:], "big")


def _name(stored: bytes, prefix: bytes) -> str:
    """The name in a header; a long one is in two parts."""
    name = stored.split(b"\0", 1)[0]
    if prefix and prefix[0]:
        name = prefix.split(b"\0", 1)[0] + b"/" + name
    return name.decode("utf-8", errors="surrogateescape")


def _extension(kind: bytes, content: bytes) -> dict[str, str]:
    """The name and size of the next file that a header has no room for: GNU's long name, or the records of POSIX, each
    a length, a space, ``key=value`` and an end of line."""
    if kind == _LONG_NAME:
        return {"path": content.split(b"\0", 1)[0].decode("utf-8", errors="surrogateescape")}
    found = {}
    while content:
        length, _, _ = content.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(content):
            break
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        if key in (b"path", b"size"):
            found[key.decode()] = value.decode("utf-8", errors="surrogateescape")
        content = content[int(length) :]
    return found
