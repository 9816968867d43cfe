"""Text as bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from .raw import Raw, file_bytes


def decode(raw: Raw) -> np.ndarray:
    """The bytes of a text: uint8, (bytes,). Bytes that are not UTF-8 stay what they are.

    Args:
        raw: a text (``str``), its bytes, or the path of a file (``Path``).

    Raises:
        InputError: the file cannot be read, the text is empty, or ``raw`` is something else.

    >>> decode("Hé")
    array([ 72, 195, 169], dtype=uint8)
    """
    if isinstance(raw, Path):
        raw = file_bytes(raw)
    if isinstance(raw, str):
        raw = raw.encode("utf-8", errors="surrogateescape")
    if not isinstance(raw, bytes):
        raise InputError(f"a text is a str, bytes or a path, not {type(raw).__name__}")
    if not raw:
        raise InputError("the text is empty; remove it")
    return np.frombuffer(raw, np.uint8)
