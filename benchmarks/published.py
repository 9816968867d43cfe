"""Imported checkpoints beside transformers at full size: ``python benchmarks/published.py --models learned,conv``.

The same random weights, saved by transformers and imported by ``sensorium import``, on the CPU; one picture, text of
2,048 bytes, or film of 16 frames, of which 6,272 pixels, 240 samples and the class are asked. It prints the parameters
and the largest difference of a logit, relative to the largest one, and ends with status 1 if that is above 1e-5 or a
count is not the published one. Needs 3 GB of memory and 2 GB of disk.

Measured with transformers 5.23.0 and torch 2.13, one thread of a busy machine, 57 to 163 s each (flow, on a busier one,
910 s): learned off by 3.9e-07, fourier 5.1e-07, conv 4.3e-07, bytes 3.5e-07, kinetics 3.9e-07, flow 5.2e-07.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn

import sensorium as sm
from sensorium.models.published import CHECKPOINTS, import_published

TOLERANCE = 1e-5
CLASSIFIER = {
    "num_latents": 512,
    "d_latents": 1024,
    "num_blocks": 8,
    "num_self_attends_per_block": 6,
    "num_cross_attention_heads": 1,
    "num_labels": 1000,
    "image_size": 224,
}
# What transformers is told of each, and how many parameters it has.
MODELS = {
    "learned": ({**CLASSIFIER, "d_model": 512}, 62_255_848),
    "fourier": ({**CLASSIFIER, "d_model": 261}, 48_440_627),
    "conv": ({**CLASSIFIER, "d_model": 322}, 48_646_522),
    "bytes": ({"qk_channels": 256, "v_channels": 1280}, 201_108_230),
    "kinetics": (
        {
            "num_latents": 784,
            "d_latents": 512,
            "d_model": 704,
            "num_self_attends_per_block": 8,
            "num_cross_attention_heads": 1,
            "num_labels": 700,
        },
        19_858_855,
    ),
    "flow": (
        {
            "num_latents": 2048,
            "d_latents": 512,
            "d_model": 322,
            "num_self_attends_per_block": 24,
            "num_self_attention_heads": 16,
            "num_cross_attention_heads": 1,
        },
        41_057_134,
    ),
}
MEAN, STD = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def random(module: nn.Module) -> nn.Module:
    """Random weights of the size that trained ones have, and no statistic at a special value."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape) / (tensor.shape[-1] if tensor.ndim else 1) ** 0.5)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return module.eval()


PIXELS, SOUNDS = torch.arange(0, 802_816, 128), torch.arange(0, 1920, 128)  # every 128th place


def batch_of(name: str) -> dict[str, Tensor]:
    """One example, as our models take it."""
    if name == "kinetics":
        return {"video": torch.rand(1, 16, 3, 224, 224), "audio": torch.rand(1, 30_720, 1) * 2 - 1}
    if name == "flow":
        return {"pair": torch.rand(1, 2, 3, 368, 496)}
    return {"text": torch.randint(6, 262, (1, 2048))} if name == "bytes" else {"image": torch.rand(1, 3, 224, 224)}


def their_answers(name: str, model: nn.Module, batch: dict[str, Tensor]) -> list[Tensor]:
    """Logits; of a film those of its sound, its pixels and its class; of a pair of frames its motion in pixels."""
    if name == "flow":  # they take the 27 numbers around a pixel of each frame, colours last, and leave out a factor
        windows = nn.functional.unfold(2 * batch["pair"][0] - 1, 3, padding=1).view(1, 2, 3, 9, 368, 496)
        return [20 * model(inputs=windows.transpose(2, 3).flatten(2, 3)).logits.flatten(1, 2)]
    if name != "kinetics":
        return [model(inputs=batch["text"] if name == "bytes" else (batch["image"] - MEAN) / STD).logits]
    inputs = {"image": batch["video"], "audio": batch["audio"], "label": torch.zeros(1, 700)}
    logits = model(inputs=inputs, subsampled_output_points={"image": PIXELS, "audio": SOUNDS, "label": None}).logits
    return [logits["audio"].reshape(1, -1, 16), logits["image"], logits["label"][:, None]]


def our_answers(name: str, model: sm.Perceiver, batch: dict[str, Tensor]) -> list[Tensor]:
    """The same of ours."""
    if name != "kinetics":
        return [model(batch).output]
    return list(model(batch, torch.cat([SOUNDS, 1920 + PIXELS, torch.tensor([1920 + 802_816])])).output.values())


def compare(name: str, folder: Path) -> tuple[int, float]:
    """Parameters, and the largest difference relative to the largest logit."""
    torch.manual_seed(0)
    architecture = getattr(transformers, CHECKPOINTS[name].architecture)
    theirs = random(architecture(transformers.PerceiverConfig(**MODELS[name][0])))
    batch = batch_of(name)
    with torch.inference_mode():
        expected = their_answers(name, theirs, batch)
        theirs.save_pretrained(folder / "theirs")
        del theirs
        result = import_published(folder / "theirs", out=folder / "ours")
        found = our_answers(name, sm.load(folder / "ours"), batch)
    pairs = zip(found, expected, strict=True)
    return result.parameters, max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    wrong = False
    for name in parser.parse_args().models.split(","):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            parameters, difference = compare(name, Path(folder))
        wrong |= difference > TOLERANCE or parameters != MODELS[name][1]
        seconds = time.perf_counter() - start
        print(f"{name}: {parameters:,} parameters, off by {difference:.1e}, {seconds:.0f} s in all", flush=True)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
