"""What a request may cost, and the refusal of one that costs more."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path

from ..codecs import bounds
from ..errors import InputError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may cost.

    Attributes:
        body: bytes of a request.
        unpacked: bytes that one file of it may unpack to.
        pixels: of a picture, or of a frame of a film.
        seconds: of sound.
        frames: pixels of a request, of the first frames of pairs, whose motion is predicted whole.
        examples: of a request.
        time: seconds that a request may take, from its first byte to its answer.
        queue: requests at a time; further ones are answered with 503.
        latency: seconds that an example may wait for others, to be answered together with them.
        decoders: files that are decoded at a time.
        memory: bytes of the process beyond which no further file is decoded; 0: half of the memory.
    """

    body: int = 64 << 20
    unpacked: int = 256 << 20
    pixels: int = 50_000_000
    seconds: float = 600.0
    frames: int = 4_000_000
    examples: int = 1000
    time: float = 60.0
    queue: int = 256
    latency: float = 0.005
    decoders: int = 4
    memory: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("latency", "memory") else sys.float_info.min
            if not isfinite(value) or value < least:
                raise InputError(f"{field.name} is {value}; give a positive number")

    @property
    def lower_bounds(self) -> bounds.LowerBounds:
        """The bounds that files are decoded with."""
        return bounds.LowerBounds(unpacked=self.unpacked, pixels=self.pixels, seconds=self.seconds)

    @property
    def most_memory(self) -> int:
        """The bytes of the process beyond which no further file is decoded."""
        return self.memory or bounds.memory() // 2


class Refused(Exception):
    """A request that is not answered: the status of HTTP, and the reason in one line.

    >>> Refused(413, "too large").status
    413
    """

    def __init__(self, status: int, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer: when to try again, how to name oneself."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def memory_used() -> int:
    """The bytes of memory that the process has; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
