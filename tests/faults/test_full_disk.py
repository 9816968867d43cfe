"""A disk that is full: one line, status 2, and the last checkpoint whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from lives import write_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")
