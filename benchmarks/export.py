"""How fast exported programs are beside the model itself, in the same run: ``python benchmarks/export.py``.

For each kind of signal a model of the size that ``auto`` chooses for 2,000 examples answers examples of noise: by
PyTorch with its own attention path (eager), as a ``.pt2`` program and as ONNX by onnxruntime. They take turns; a figure
is the median of the turns, in processor time of one thread, so that other work on the machine changes little. Prints a
table in Markdown and, with ``--out``, writes it into that page between its marks.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.data import collate
from sensorium.inference.bench import environment
from sensorium.inference.export import export_model, open_program
from sensorium.inference.portable import fitted, portable
from sensorium.modalities import (
    AudioConfig,
    ImageConfig,
    PointsConfig,
    SeriesConfig,
    TableConfig,
    TextConfig,
    VideoConfig,
    VolumeConfig,
)
from sensorium.modalities.made import made_examples
from sensorium.modalities.table import Column
from sensorium.models.auto import Facts, choose_encoder, choose_inputs
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.tasks import ClassifyConfig

BEGIN, END = "<!-- speeds: begin -->", "<!-- speeds: end -->"
MEASURED: dict[str, Any] = {
    "image 64 × 64": ImageConfig(size=(64, 64)),
    "audio 2 s": AudioConfig(samples=32_000),
    "video 8 × 32 × 32": VideoConfig(size=(32, 32), frames=8),
    "volume 32³": VolumeConfig(size=(32, 32, 32)),
    "points 1,024": PointsConfig(points=1024),
    "text 512 bytes": TextConfig(length=512),
    "series 256 × 4": SeriesConfig(channels=4, length=256, mean=(0.0,) * 4, std=(1.0,) * 4),
    "table 20 columns": TableConfig(columns=tuple(Column(name=f"column {number}") for number in range(20))),
}


def model_of(measured: Any) -> Perceiver:
    """The model of ``auto`` for a classification with ten classes."""
    facts = Facts(task="classify", examples=2000)
    torch.manual_seed(0)
    config = PerceiverConfig(
        inputs=choose_inputs(measured, facts),
        encoder=choose_encoder(measured, facts),
        task=ClassifyConfig(classes=tuple(map(str, range(10)))),
    )
    model = Perceiver(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model


def seconds(run: Callable[[], object], *, least: float = 0.5) -> float:
    """The median processor time of a call."""
    times: list[float] = []
    while sum(times) < least or len(times) < 3:
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return statistics.median(times)


def measure(measured: Any, *, batch: int, rounds: int, folder: Path) -> Mapping[str, float]:
    """Seconds of each contender for a batch, and the largest difference from the model (``difference``)."""
    model = model_of(measured)
    ragged = [modality.name for modality in model.inputs.modalities if modality.ragged]
    examples = collate(made_examples(model.inputs, batch), ragged=ragged)
    signature = portable(model, examples)
    view: dict[str, Tensor] = model.inputs.view(examples)
    inputs = fitted(signature, view)
    contenders: dict[str, Callable[[], object]] = {"eager": lambda: model.predict_view(view)}
    difference = 0.0
    for format in ("pt2", "onnx"):
        exported = export_model(model, folder / f"model.{format}", examples, format=format)  # type: ignore[arg-type]
        program = open_program(exported.file, format=format)  # type: ignore[arg-type]
        contenders[format] = lambda program=program: program(inputs)  # type: ignore[misc]
        difference = max(difference, exported.difference)
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(rounds):
        for name, run in contenders.items():
            found[name].append(seconds(run))
    return {**{name: float(np.median(times)) for name, times in found.items()}, "difference": difference}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8, help="examples at a time")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender")
    parser.add_argument("--only", help="measure only what has this in its name")
    parser.add_argument("--out", type=Path, help="a page to write the table into, between its marks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        f"{options.batch} examples at a time; milliseconds of processor time; "
        + "; ".join(f"{k} {v}" for k, v in environment().items()),
        "",
        "| signal | eager | pt2 | onnxruntime | difference |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for name, measured in MEASURED.items():
        if options.only and options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = measure(measured, batch=options.batch, rounds=options.rounds, folder=Path(folder))
        cells = [f"{1000 * found[key]:.1f}" for key in ("eager", "pt2", "onnx")]
        lines.append(f"| {name} | {' | '.join(cells)} | {found['difference']:.0e} |")
        print(lines[-1], flush=True)
    if options.out is not None:
        table, text = "\n".join(lines), options.out.read_text("utf-8")
        marked = f"{BEGIN}\n{table}\n{END}"
        options.out.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: marked, text, flags=re.S), "utf-8")


if __name__ == "__main__":
    main()
