"""Formats whose library is not installed: one line says which, and how to get it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sensorium.codecs import dicom, pictures, points, recordings, volumes
from sensorium.errors import InputError

READERS: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("laspy", ".las", points.decode),
    ("pypcd4", ".pcd", points.decode),
    ("pyedflib", ".edf", recordings.decode_edf),
    ("nibabel", ".nii.gz", volumes.decode),
    ("nibabel", ".nii", volumes.header),
    ("pydicom", ".dcm", volumes.decode),
    ("pydicom", ".dcm", pictures.decode),
    ("pydicom", ".dcm", pictures.header),
    ("pydicom", ".dcm", dicom.series_of),
]


@pytest.mark.parametrize(("library", "suffix", "decode"), READERS)
def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, suffix: str, decode: Callable[[Any], Any]
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"some bytes")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"needs {library}: pip install 'sensorium\[formats\]'$"):
        decode(path)
