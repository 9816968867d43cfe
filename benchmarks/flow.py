"""Optical flow learned from single pictures, tested on made and on real pairs, beside predicting no motion.

``python benchmarks/flow.py PICTURES --pairs PAIRS [--minutes 20] [--run RUN] [--out runs/flow]``

PICTURES is a folder of pictures, of which ``sensorium train --task flow`` makes pairs whose motion is known; PAIRS has
folders of ``frame1.png``, ``frame2.png`` and ``flow.flo``. An existing RUN is tested instead of a new one. The test
split's made pairs have the size that the model reads; larger made pairs, with more motion, are predicted as real ones
are: whole, tile by tile and from coarse to fine. The figures are written to ``figures.json`` in the run folder, and a
drawing of each real pair.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sensorium.codecs import pictures
from sensorium.codecs.flow import colours
from sensorium.codecs.flow import decode as decode_flow
from sensorium.modalities.pixels import floats
from sensorium.models import checkpoints
from sensorium.tasks.warps import MadePairs, WarpConfig, make_pairs
from sensorium.training.plan import plan
from sensorium.training.run import train
from telling import Tell

SIDE, SCENE = 128, 224  # pixels of the larger made frames, and of the pictures that they are made from
MADE = 48  # larger made pairs


def made_of(raws: Sequence[Path], warps: WarpConfig) -> MadePairs:
    """Larger pairs from test pictures, in which things move up to twice as far."""
    chosen = raws[:: max(1, len(raws) // MADE)][:MADE]
    scenes = np.stack([pictures.decode(raw, size=(SCENE, SCENE)) for raw in chosen])
    return make_pairs(floats(torch.from_numpy(scenes)), (SIDE, SIDE), replace(warps, motion=2 * warps.motion))


def frames_in(folder: Path) -> torch.Tensor:
    """The two frames of a folder: 2 × 3 × height × width, uint8."""
    both = [np.asarray(Image.open(folder / f"frame{which}.png").convert("RGB")) for which in (1, 2)]
    return torch.from_numpy(np.stack(both)).permute(0, 3, 1, 2)


def tell(figures: dict[str, float | str]) -> dict[str, float | str]:
    """Print a line of the table."""
    name, error, still = figures["name"], float(figures["error"]), float(figures["still"])
    print(f"| {name} | {still:.2f} | **{error:.2f}** | {error / still:.2f} |", flush=True)
    return figures


def main() -> None:
    """Train, test, draw, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/flow"))
    options = parser.parse_args()
    run = options.run or options.out
    if options.run is None:
        train(options.pictures, out=run, task="flow", minutes=options.minutes, listener=Tell())
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    model, figures = checkpoints.load(run).eval(), report["metrics"]
    print(f"\n{model.parameter_count():,} parameters, {report['train_seconds'] / 60:.1f} minutes of training\n")
    print("| pairs | error of no motion (pixels) | end-point error | share |")
    print("|---|---:|---:|---:|")
    made_name = f"made of {report['samples']} pictures that were not trained on"
    pairs = [tell({"name": made_name, "error": figures["epe"], "still": figures["still"]})]
    made = made_of(plan(options.pictures, task="flow").source.splits["test"].raws["pair"], model.config.task.warps)
    found = torch.stack([model.task.whole_flow(model.predict_view, frames) for frames in made.frames])
    error, still = (float(torch.linalg.vector_norm(off, dim=1).mean()) for off in (found - made.flow, made.flow))
    frames_name = f"whole frames of {SIDE} × {SIDE} made of {len(found)} of them"
    pairs.append(tell({"name": frames_name, "error": error, "still": still}))
    for folder in sorted(options.pairs.iterdir()) if options.pairs else []:
        frames, true = frames_in(folder), decode_flow(folder / "flow.flo")
        predicted = model.task.whole_flow(model.predict_view, frames).numpy()
        error, still = (float(np.nanmean(np.hypot(*off))) for off in (true - predicted, true))
        pairs.append(tell({"name": folder.name, "error": error, "still": still}))
        largest = float(np.nanquantile(np.hypot(*true), 0.95))
        beside = [frames[0].permute(1, 2, 0).numpy(), *(colours(flow, largest=largest) for flow in (predicted, true))]
        Image.fromarray(np.concatenate(beside, axis=1)).save(run / f"{folder.name}.png")
    (run / "figures.json").write_text(json.dumps({"pairs": pairs}), encoding="utf-8")


if __name__ == "__main__":
    main()
