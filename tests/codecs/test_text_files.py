"""Text as bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.codecs.text import decode
from sensorium.errors import InputError


def test_bytes_are_kept(tmp_path: Path) -> None:
    """All of them, by content, by path and as text, which is UTF-8."""
    every = bytes(range(256))
    (tmp_path / "any.txt").write_bytes(every)
    for raw in (every, tmp_path / "any.txt", every.decode("utf-8", "surrogateescape")):
        assert decode(raw).tolist() == list(every)
    assert decode("é").tolist() == [195, 169]
    assert decode("a").dtype == np.uint8


@pytest.mark.parametrize(
    ("raw", "message"),
    [("", "empty"), (b"", "empty"), (Path("/nowhere/at/all.txt"), "cannot be read"), (np.zeros(3), "not ndarray")],
)
def test_bad_input(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(raw)
