"""Structured against absorbed attention to a grid; and absorbed attention to rows, in tiles against torch's kernel.

Interleaved medians, in milliseconds, of a forward pass and of forward + backward. The numbers in
``sensorium.nn.ops.dispatch.structure_pays`` are from the first table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from sensorium.inference.bench import peak_memory
from sensorium.modalities import AudioConfig, Fusion, FusionConfig, ImageConfig, VideoConfig, build_modality
from sensorium.nn.attention import CrossAttention, attention_path
from sensorium.nn.byte_array import ByteArray, Segment
from sensorium.nn.ops import AttentionInputs, AttentionPath, compiled, row_attention
from sensorium.nn.positions import fourier_points
from small_attention import race

# Examples, latents, channels of the latents, side of the picture, of a patch, bands.
GRIDS = (
    (64, 64, 256, 16, 1, 8),
    (64, 64, 256, 32, 2, 8),
    (64, 64, 256, 64, 4, 8),
    (8, 256, 512, 64, 2, 16),
    (8, 256, 512, 112, 4, 14),
    (2, 512, 512, 112, 1, 32),
    (4, 512, 512, 224, 4, 28),
    (1, 512, 1024, 224, 1, 64),
)
ROWS = (
    (1, 512, 50176, 264),
    (8, 512, 2048, 136),
    (64, 64, 1024, 48),
    (64, 64, 512, 72),
)  # examples, latents, rows, channels


def grids() -> None:
    """Two cross-attends to a grid, by size."""
    print("examples, latents | rows, channels, of them values | precision | structured, absorbed | with backward")
    for examples, latents, width, side, patch, bands in GRIDS:
        image = build_modality(ImageConfig(size=(side, side), patch=(patch, patch), bands=bands))
        block = CrossAttention(width, input_channels=image.channels)
        block.mlp = nn.Sequential()
        start, batch = (
            torch.randn(1, latents, width, requires_grad=True),
            {"image": torch.rand(examples, 3, side, side)},
        )
        for precision in (torch.float32, torch.bfloat16):

            def run(path: AttentionPath, backward: bool) -> None:
                lower = torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16)  # noqa: B023
                with attention_path(block, path), lower, torch.set_grad_enabled(backward):  # noqa: B023
                    inputs = AttentionInputs(image.embed(batch))  # noqa: B023
                    latents = block(block(start, inputs), inputs)  # noqa: B023
                if backward:
                    latents.sum().backward()

            paths: tuple[AttentionPath, ...] = ("structured", "absorbed")
            medians = [race({path: lambda p=path, b=b: run(p, b) for path in paths}, turns=5) for b in (False, True)]
            times = " | ".join(f"{each['structured']:.1f}, {each['absorbed']:.1f}" for each in medians)
            shape = f"{image.num_rows}, {image.channels}, {3 * patch * patch}"
            print(f"{examples}, {latents} | {shape} | {str(precision).removeprefix('torch.')} | {times}", flush=True)


def rows() -> None:
    """Attention to dense rows, by size; the rows themselves need no gradient."""
    print("\nexamples × latents × rows × channels | precision | tiles, torch's kernel | with backward")
    for shape in ROWS:
        examples, latents, count, channels = shape
        for precision in (torch.float32, torch.bfloat16):
            query = (0.1 * torch.randn(examples, latents, channels)).to(precision).requires_grad_()
            keys = torch.randn(examples, count, channels, dtype=precision)

            def run(tiles: bool, backward: bool) -> None:
                with torch.set_grad_enabled(backward):
                    if tiles:
                        result = row_attention(query, keys, None).sums  # noqa: B023
                    else:
                        head = keys[:, None]  # noqa: B023
                        result = F.scaled_dot_product_attention(query[:, None], head, head, scale=1.0)  # noqa: B023
                if backward:
                    result.sum().backward()

            medians = [
                race({"tiles": lambda b=b: run(True, b), "torch": lambda b=b: run(False, b)}, turns=5)
                for b in (False, True)
            ]
            times = " | ".join(f"{each['tiles']:.1f}, {each['torch']:.1f}" for each in medians)
            print(f"{' × '.join(map(str, shape))} | {str(precision).removeprefix('torch.')} | {times}", flush=True)


def million() -> None:
    """One cross-attend to a million points."""
    points = 2 * torch.rand(1, 1_000_000, 3) - 1
    array = ByteArray((Segment("points", points[..., :0], fourier_points(points, bands=16, resolution=(40.0,) * 3)),))
    measure(lambda: array, latents=512, width=1024)


def film() -> None:
    """One cross-attend to 16 frames of 224 × 224 pixels, a row a pixel, with their sound."""
    video = VideoConfig(frames=16, patch=(1, 1, 1), bands=32)
    sound = AudioConfig(rate=48_000, samples=30_720, representation="raw", patch=(16, 1), bands=192)
    fusion = Fusion(FusionConfig(modalities={"video": video, "audio": sound}))
    batch = {"video": torch.rand(1, 16, 3, 224, 224), "audio": 2 * torch.rand(1, 30_720, 1) - 1}
    measure(lambda: fusion.embed(batch), latents=784, width=512)


def measure(embed: Callable[[], ByteArray], *, latents: int, width: int) -> None:
    """One cross-attend, forward and with backward: seconds, and the peak memory of the process."""
    block = CrossAttention(width, input_channels=embed().channels)
    query = torch.randn(1, latents, width, requires_grad=True)
    for backward in (False, True):
        start = time.perf_counter()
        with torch.set_grad_enabled(backward):
            array = embed()
            result = block(query, AttentionInputs(array))
        if backward:
            result.sum().backward()
        seconds, peak = time.perf_counter() - start, peak_memory() / 1e9
        stage = "with backward" if backward else "forward"
        print(
            f"{array.num_rows:,} rows of {array.channels} channels, {stage}: {seconds:.1f} s, {peak:.1f} GB", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fallback", action="store_true", help="grids by the fallback in PyTorch")
    parser.add_argument("--million", action="store_true", help="one cross-attend to a million points instead")
    parser.add_argument("--film", action="store_true", help="one cross-attend to a film's pixels and sound instead")
    options = parser.parse_args()
    if options.fallback:
        compiled.library = None
    if options.million:
        million()
    elif options.film:
        film()
    else:
        grids()
        rows()
