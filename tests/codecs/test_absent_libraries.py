"""Formats whose library is not installed: one line says which, and how to get it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sensorium.codecs import points, recordings
from sensorium.errors import InputError

READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "laspy": (".las", points.decode),
    "pypcd4": (".pcd", points.decode),
    "pyedflib": (".edf", recordings.decode_edf),
}


@pytest.mark.parametrize("library", READERS)
def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    suffix, decode = READERS[library]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"some bytes")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"needs {library}: pip install 'sensorium\[formats\]'$"):
        decode(path)
