"""Shared by every test."""

from __future__ import annotations

from typing import Any

import hypothesis
import jaxtyping
import pytest
import torch
import torch.export
from jaxtyping import install_import_hook

# Not the operators (``nn.ops.grid`` and ``nn.ops.rows``): torch reads their signatures, and takes no annotated shapes.
CHECKED = [
    f"sensorium.nn.{name}"
    for name in (
        *("attention", "byte_array", "decoder", "encoder", "initialisation", "positions", "queries"),
        *(f"ops.{part}" for part in ("absorbed", "dispatch", "inputs", "projected", "structured")),
    )
]

# Shapes are checked here only: every annotated call of these files, at no cost to users.
install_import_hook(CHECKED, "beartype.beartype")

_export = torch.export.export


def _unchecked_export(*arguments: Any, **options: Any) -> torch.export.ExportedProgram:
    """As ``torch.export.export``, without the checks of shapes, which know no symbolic sizes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        return _export(*arguments, **options)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


torch.export.export = _unchecked_export

torch.set_num_threads(1)  # the sizes here are tiny, and the workers share the cores

hypothesis.settings.register_profile(
    "sensorium",
    deadline=None,  # a shared machine is slow at times
    max_examples=20,
    derandomize=True,  # the same examples on every run
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate, hypothesis.Phase.shrink],  # explaining takes minutes
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("sensorium")


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)
