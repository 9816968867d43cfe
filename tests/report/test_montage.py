"""Montages: a line for each cross-attend and head, a column for each latent, whatever the signal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from sensorium.inference.latent_maps import LatentMapsConfig, latent_maps
from sensorium.modalities import FusionConfig, SeriesConfig, TableConfig, TextConfig
from sensorium.modalities.table import Column
from sensorium.report import montage as page
from small_models import IMAGE, POINTS, classes, small_model

SERIES = SeriesConfig(channels=2, length=9, mean=(0.0, 0.0), std=(1.0, 1.0), patch=2)
BATCHES: dict[str, tuple[Any, dict[str, torch.Tensor]]] = {
    "image": (IMAGE, {"image": torch.rand(1, 1, 6, 6)}),
    "series": (SERIES, {"series": torch.randn(1, 9, 2)}),
    "text": (TextConfig(length=7), {"text": torch.randint(70, 100, (1, 7))}),
    "table": (TableConfig(columns=(Column(name="a"), Column(name="b"))), {"table": torch.randn(1, 2)}),
    "several": (
        FusionConfig(modalities={"image": IMAGE, "points": POINTS}),
        {"image": torch.rand(1, 1, 6, 6), "points": torch.rand(1, 12, 3)},
    ),
}


@pytest.mark.parametrize("kind", BATCHES)
def test_every_latent_has_a_map(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the input, once for each cross-attend; pictures and series are left out below the maps."""
    config, batch = BATCHES[kind]
    model = small_model(config, classes(2))
    drawn: list[tuple[dict[str, torch.Tensor], Any]] = []
    draw = type(model.inputs).draw
    monkeypatch.setattr(
        type(model.inputs),
        "draw",
        lambda self, axes, batch, index, attention=None: (
            drawn.append((batch, attention)) or draw(self, axes, batch, index, attention)
        ),
    )
    figures: list[Figure] = []
    photograph = page.photograph
    monkeypatch.setattr(page, "photograph", lambda figure, dpi: figures.append(figure) or photograph(figure, dpi))
    found = latent_maps(model, batch, LatentMapsConfig(latents=(2, 0), cross_attends=(0, 2)))
    assert page.montage(model.inputs, batch, found).startswith("data:image/webp;base64,")
    assert len(drawn) == 2 * (1 + 2)
    assert [attention is None for _, attention in drawn] == [True, False, False] * 2
    assert [axes.get_title() for axes in figures[0].axes[:3]] == ["", "3", "1"]
    name = "image" if kind == "several" else kind
    below = drawn[1][0][name]
    assert torch.equal(below, batch[name]) == (kind in ("text", "table"))
    if kind == "several":
        assert torch.equal(drawn[1][0]["points"], batch["points"])
        attention = drawn[1][1]["image"]
    else:
        attention = drawn[1][1]
    assert attention.min() >= 0
    assert 0.5 <= attention.max() <= 1
