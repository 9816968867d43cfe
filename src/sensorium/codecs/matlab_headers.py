"""What the elements of a MATLAB file before version 7.3 announce: SciPy believes their types and sizes.

A file is 128 bytes of text and then elements: their type, their size, and so many bytes. A matrix is an element whose
bytes are elements, too; so is a compressed one, once it is decompressed (MATLAB's "MAT-File Format").
"""

from __future__ import annotations

import zlib
from typing import Literal

from . import bounds

_START = 128  # bytes before the first element
_TAG = 8  # bytes of type and size
_MATRIX, _COMPRESSED = 14, 15
_TYPES = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18))  # of numbers and letters
_DEEPEST = 50  # matrices inside each other
Order = Literal["big", "little"]


def check_matlab(content: bytes) -> None:
    """Refuse a file that unpacks to more than a file may, or has elements of a type that there is not: SciPy looks the
    type up without a question.

    Raises:
        InputError: the size and the bound.
        ValueError, zlib.error: it is damaged.
    """
    order: Order = "big" if content[126:128] == b"MI" else "little"
    total = 0
    elements = list(_elements(content, _START, len(content), order))
    for kind, start, end in elements:
        if kind == _COMPRESSED:
            head = zlib.decompressobj().decompress(content[start:end], _TAG)
            total += int.from_bytes(head[4:], order)
    bounds.check_bytes(total, "what it holds")
    for kind, start, end in elements:
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            inner = unpacker.decompress(content[start:end], bounds.largest())
            _check_elements(inner, 0, len(inner), order)
        else:
            _check_element(content, kind, start, end, order)


def _elements(content: bytes, start: int, end: int, order: Order) -> list[tuple[int, int, int]]:
    """The type of each element, and where its bytes begin and end."""
    found = []
    while start + _TAG <= end:
        kind, size = (int.from_bytes(content[at : at + 4], order) for at in (start, start + 4))
        if kind >> 16:  # a small one: type and size are two bytes each, and its bytes are in the place of the size
            found.append((kind & 0xFFFF, start + 4, start + 4 + (kind >> 16)))
            start += _TAG
            continue
        found.append((kind, start + _TAG, min(end, start + _TAG + size)))
        padding = 0 if kind == _COMPRESSED else -size % 8
        start += _TAG + size + padding
    return found


def _check_elements(content: bytes, start: int, end: int, order: Order, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"more than {_DEEPEST} matrices inside each other")
    for kind, first, last in _elements(content, start, end, order):
        _check_element(content, kind, first, last, order, depth)


def _check_element(content: bytes, kind: int, start: int, end: int, order: Order, depth: int = 0) -> None:
    if kind == _MATRIX:
        _check_elements(content, start, end, order, depth + 1)
    elif kind not in _TYPES:
        raise ValueError(f"an element of type {kind}, which there is not")
