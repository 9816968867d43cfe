"""Depth is cheap: a step through 400 process layers, and what checkpointing keeps of them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import Literal

import pytest
import torch
from torch import nn

from builders import gradients, grid_array, leaves, normal, rows_of, small_encoder
from sensorium.models.recipe import RecipeConfig
from sensorium.nn import Encoder, EncoderConfig, attention_path
from sensorium.nn.byte_array import ByteArray, Segment
from sensorium.training.optimizers import optimizers

LAYERS = 200
LIMIT = 2 * 2**30  # bytes


@pytest.mark.parametrize("path", ["absorbed", "projected", "structured"])
def test_checkpointing_changes_no_gradient(path: Literal["absorbed", "projected", "structured"]) -> None:
    """The same answer and the same gradients to the bit, of learned positions and modality_embeddings too, which all
    reads share."""
    results = []
    for checkpointing in (False, True):
        array = ByteArray((grid_array((3, 4), modality_channels=4),))
        encoder = small_encoder(array.channels)
        with attention_path(encoder, path):
            latents = encoder(array, checkpointing=checkpointing)
        latents.square().sum().backward()
        results.append({"answer": latents.detach(), **gradients(encoder)})
        results[-1] |= {name: leaf.grad for name, leaf in leaves(array).items() if leaf.grad is not None}
    assert len(results[0]) == len(gradients(encoder)) + 1 + 4
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=0, atol=0, msg=name)


def test_checkpointing_keeps_less_for_the_backward_pass() -> None:
    """Of each block nothing but what enters it, instead of everything in it."""
    encoder, array = small_encoder(latent_transformer=(0, 0, 0)), rows_of(normal(2, 50, 6))
    kept = []
    for checkpointing in (False, True):
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=sizes: (s.append(x.numel()), x)[1], lambda x: x):
            encoder(array, checkpointing=checkpointing)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 3


def step(sharing: str) -> None:
    """Train one step as recipes do by default, and say how many bytes the process had at most."""
    torch.manual_seed(0)
    processes = (0,) * LAYERS if sharing == "shared" else tuple(range(LAYERS))
    shape = EncoderConfig(
        num_latents=128,
        latent_channels=256,
        cross_attention=(0, *[None] * (LAYERS - 1)),
        latent_transformer=processes,
        num_layers=1,
    )
    encoder = Encoder(shape, channels=16)
    chosen = optimizers(RecipeConfig(), nn.ModuleDict({"encoder": encoder}))
    loss = encoder(ByteArray((Segment("rows", torch.randn(2, 64, 16)),)), checkpointing=True).square().mean()
    loss.backward()
    for optimizer in chosen:
        optimizer.step()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())
    print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["shared", "unshared"])
def test_two_hundred_layers_train_in_two_gigabytes(sharing: str) -> None:
    """Width 256, 128 latents, a batch of 2, in a process of its own; gradients arrive at the latents."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, sharing]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < LIMIT


if __name__ == "__main__":
    step(sys.argv[1])
