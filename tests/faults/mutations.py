"""Damage to files, the same for the same seed: what a bad disk, a cut download or an attacker makes of them."""

from __future__ import annotations

import re
import struct
from random import Random

HUGE = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 0x0FFFFFFF, 1 << 28, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40)
WRITTEN = (b"0", b"-1", b"1e308", b"nan", b"99999999999", b"4294967295", b"268435456", b"9" * 400, b"", b"[[")
_HEAD = 600  # bytes in which formats keep their sizes


def mutate(content: bytes, random: Random, others: list[bytes]) -> bytes:
    """A file with one to four kinds of damage.

    Args:
        others: sound files of all formats, whose content may come in its place or into it.
    """
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        content = random.choice(_DAMAGE)(content, random, others)
    return content


def _place(content: bytes, random: Random) -> int:
    """A place in a file; one in two is in its head, and one in eight near its end, where some formats have theirs."""
    size = max(1, len(content))
    where = random.random()
    if where < 0.5:
        return random.randrange(min(size, _HEAD))
    return max(0, size - 1 - random.randrange(min(size, _HEAD))) if where < 0.625 else random.randrange(size)


def _flip(content: bytes, random: Random, others: list[bytes]) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8))):
        if changed:
            changed[_place(content, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(content: bytes, random: Random, others: list[bytes]) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _insert(content: bytes, random: Random, others: list[bytes]) -> bytes:
    at, block = _place(content, random), random.randbytes(random.choice((1, 2, 4, 16, 300)))
    return content[:at] + block + content[at:]


def _duplicate(content: bytes, random: Random, others: list[bytes]) -> bytes:
    at, size = _place(content, random), random.choice((1, 4, 16, 64, 1000))
    return content[: at + size] + content[at : at + size] * random.choice((1, 1, 100)) + content[at + size :]


def _remove(content: bytes, random: Random, others: list[bytes]) -> bytes:
    at = _place(content, random)
    return content[:at] + content[at + random.choice((1, 4, 16, 64, 1000)) :]


def _erase(content: bytes, random: Random, others: list[bytes]) -> bytes:
    at, size = _place(content, random), random.choice((1, 4, 16, 64, 1000))
    return content[:at] + random.choice((b"\0", b"\xff")) * len(content[at : at + size]) + content[at + size :]


def _number(content: bytes, random: Random, others: list[bytes]) -> bytes:
    """A number of 1 to 8 bytes becomes zero, negative or huge."""
    form = random.choice(("B", "<H", ">H", "<I", ">I", "<Q", ">Q", "<f", ">d"))
    size = struct.calcsize(form)
    value = random.choice(HUGE)
    if form[-1] in "fd":
        number = struct.pack(form, random.choice((float("nan"), float("inf"), -1.0, 0.0, 1e30)))
    else:
        number = struct.pack(form, value & ((1 << 8 * size) - 1))
    at = _place(content, random)
    return content[:at] + number[: len(content) - at] + content[at + size :]


def _written_number(content: bytes, random: Random, others: list[bytes]) -> bytes:
    """A number in letters, as in the headers of text formats, becomes zero, negative, huge or nothing."""
    numbers = list(re.finditer(rb"\d+", content[:4096]))
    if not numbers:
        return _number(content, random, others)
    start, end = random.choice(numbers).span()
    return content[:start] + random.choice(WRITTEN) + content[end:]


def _other(content: bytes, random: Random, others: list[bytes]) -> bytes:
    """The content of another format."""
    return random.choice(others)


def _splice(content: bytes, random: Random, others: list[bytes]) -> bytes:
    other = random.choice(others)
    return content[: _place(content, random)] + other[_place(other, random) :]


_DAMAGE = (
    *(_flip, _flip, _cut, _insert, _duplicate, _remove, _erase, _erase),
    *(_number, _number, _number, _number, _written_number, _written_number, _other, _splice),
)
