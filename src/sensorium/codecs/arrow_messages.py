"""What a message of Arrow's stream says of its buffers, which pyarrow decompresses before anyone can ask.

A message is a table of FlatBuffers (Arrow's ``Message.fbs``): fields by number, each at a distance that another table,
the vtable, has for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER_TYPE, _HEADER = 1, 2  # fields of a message
_LENGTH, _BUFFERS, _COMPRESSION = 0, 2, 3  # fields of a record batch
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # types of headers
_DATA = 1  # field of a dictionary batch: a record batch
_BUFFER = 16  # bytes of a buffer's place and size


@dataclass(frozen=True)
class ArrowBatch:
    """A record batch.

    Attributes:
        rows: as it says.
        compressed: the place and the size of each compressed buffer in the body of the message; empty where they are
            not compressed.
    """

    rows: int
    compressed: tuple[tuple[int, int], ...]


def arrow_batch(message: bytes) -> ArrowBatch | None:
    """The batch that a message announces; None: it announces something else.

    Raises:
        ValueError: the message is damaged.
    """
    try:
        table = _follow(message, 0)
        type_at, header_at = _field(message, table, _HEADER_TYPE), _field(message, table, _HEADER)
        if type_at is None or header_at is None or message[type_at] not in (_DICTIONARY_BATCH, _RECORD_BATCH):
            return None
        batch = _follow(message, header_at)
        if message[type_at] == _DICTIONARY_BATCH:
            if (data := _field(message, batch, _DATA)) is None:
                return None
            batch = _follow(message, data)
        length, buffers = _field(message, batch, _LENGTH), _field(message, batch, _BUFFERS)
        rows = 0 if length is None else struct.unpack_from("<q", message, length)[0]
        if buffers is None or _field(message, batch, _COMPRESSION) is None:
            return ArrowBatch(rows, ())
        start = _follow(message, buffers)
        count = min(struct.unpack_from("<I", message, start)[0], len(message) // _BUFFER)
        return ArrowBatch(
            rows, tuple(struct.unpack_from("<qq", message, start + 4 + _BUFFER * index) for index in range(count))
        )
    except (struct.error, IndexError):
        raise ValueError("a message is damaged") from None


def _follow(message: bytes, at: int) -> int:
    """Where the distance that is written at a place leads to."""
    return at + struct.unpack_from("<I", message, at)[0]


def _field(message: bytes, table: int, number: int) -> int | None:
    """The place of a field of a table; None: it is not set."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    size = struct.unpack_from("<H", message, vtable)[0]
    if vtable < 0 or 4 + 2 * number >= size:
        return None
    distance = struct.unpack_from("<H", message, vtable + 4 + 2 * number)[0]
    return table + distance if distance else None
