"""Shared by the tests of training."""

from __future__ import annotations

import pytest

from sensorium.report import drawings

PIXEL = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4="


@pytest.fixture(autouse=True)
def _quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports whose figures are made but not turned into pixels, which takes most of a small run; tests/report and the
    tests of the commands look at whole ones."""
    monkeypatch.setattr(drawings, "_uri", lambda figure, file_format, **options: PIXEL)
