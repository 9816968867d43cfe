"""What a signal may come as, before it is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError

Raw: TypeAlias = "Path | bytes | str | np.ndarray | Sequence[Any] | Mapping[str, Any]"


def file_bytes(raw: str | bytes | Path) -> bytes:
    """The bytes of a file, by path or as they are.

    Raises:
        InputError: it cannot be read, or is empty.
    """
    if not isinstance(raw, bytes):
        try:
            raw = Path(raw).read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})") from None
    if not raw:
        raise InputError("the file is empty; copy it again or remove it")
    return raw
