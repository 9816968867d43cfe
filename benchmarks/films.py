"""How well a run reconstructs films, beside the mean picture and silence: ``python benchmarks/films.py RUN DATA``.

The ratios are in decibels, means over the test films, as ``sensorium pretrain`` reports them. They are written to
``figures.json`` in the run folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from sensorium.data import Samples, load_samples
from sensorium.models import checkpoints
from sensorium.models.perceiver import Perceiver
from sensorium.tasks.reconstruction import ReconstructionTarget
from sensorium.training.plan import read_run_config, reopen

AT_A_TIME = 8  # films


def targets_of(model: Perceiver, samples: Samples) -> Iterator[dict[str, ReconstructionTarget]]:
    """The signals of films as the model's task measures them, some at a time."""
    for start in range(0, len(samples), AT_A_TIME):
        batch = samples.batch(list(range(start, min(start + AT_A_TIME, len(samples)))))
        for view in model.inputs.views(batch):
            yield model.prepare(view).targets


def mean_picture(model: Perceiver, train: Samples) -> Tensor:
    """The mean over films and their frames: channels × height × width."""
    total, count = torch.zeros(()), 0
    for targets in targets_of(model, train):
        view = targets["video"].view
        frames = view["video"].float().flatten(0, 1)
        present = view["video.mask"].flatten() if "video.mask" in view else torch.ones(len(frames), dtype=torch.bool)
        total = total + frames[present].sum(0)
        count += int(present.sum())
    return total / count


def trivial(model: Perceiver, train: Samples, test: Samples) -> dict[str, float]:
    """The ratios of the mean picture of the training films, and of silence."""
    picture = mean_picture(model, train)
    pictures, silences = [], []
    for targets in targets_of(model, test):
        video, audio = targets["video"], targets["audio"]
        pictures.append(video.peak_signal_to_noise(picture.expand_as(video.view["video"])))
        silences.append(audio.peak_signal_to_noise(torch.zeros_like(audio.view["audio"], dtype=torch.float32)))
    return {"mean_picture": float(torch.cat(pictures).mean()), "silence": float(torch.cat(silences).mean())}


def main() -> None:
    """Print a line for each signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    model = checkpoints.load(options.run).eval()
    splits = reopen(options.data, read_run_config(options.run)).splits
    train, test = (
        load_samples(splits[split].for_modality(model.inputs), [model.inputs]) for split in ("train", "test")
    )
    metrics = json.loads((options.run / "report.json").read_text("utf-8"))["metrics"]
    with torch.no_grad():
        beside = trivial(model, train, test)
    figures = {"video": metrics["video_psnr"], "audio": metrics["audio_psnr"], **beside}
    print("| of the test films | pictures, dB | sound, dB |")
    print("|---|---:|---:|")
    print(f"| the model | {figures['video']:.1f} | {figures['audio']:.1f} |")
    print(f"| the mean picture of training films; silence | {beside['mean_picture']:.1f} | {beside['silence']:.1f} |")
    (options.run / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
