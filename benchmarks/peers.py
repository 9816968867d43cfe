"""This project beside its peers, from 64 × 64 to 4096 × 4096 pixels: ``python benchmarks/peers.py --sizes 64,224``.

Two encoders of 512 latents of 1024 channels on the 261 channels of the ImageNet model, one picture at a time, on a CPU:

- *eight cross-attends*, the Perceiver of 2021: this project, its own projected path (keys and values of every row and
  torch's fused attention, as krasserm's perceiver-io computes it), and lucidrains' perceiver-pytorch;
- *one cross-attend*, Perceiver IO's: this project, its own projected path, and transformers' PerceiverModel with the
  same weights.

Each measurement is a process of its own and contenders take turns. What ran is merged into results.json; results.md and
rows.png are drawn from all of it, so the sizes may be run in parts. It ends with status 1 if answers differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from peers_report import write_report
from sensorium.errors import InputError
from sensorium.files import replace_file
from sensorium.inference import bench
from sensorium.inference.bench import Job, Result, Work, measure_apart, race, refusal, serve
from sensorium.inference.costs import Cost, encoder_cost
from sensorium.modalities import build_modality
from sensorium.models import presets
from sensorium.models.published import CHECKPOINTS
from sensorium.nn import Encoder, EncoderConfig, attention_path
from sensorium.nn.byte_array import ByteArray

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
SIZES = "64,224,512,1024,2048,4096"
CONTENDERS = {
    "eight cross-attends": ("auto", "projected", "lucidrains"),
    "one cross-attend": ("auto", "projected", "transformers"),
}
TOLERANCE = 1e-4  # of answers that must agree, relative to the largest number


def encoder_config(what: str) -> EncoderConfig:
    """The paper's ImageNet encoder, or the same with its first cross-attend only."""
    config = presets.load("perceiver-imagenet").encoder
    return (
        config
        if what == "eight cross-attends"
        else replace(config, cross_attention=(0, *[None] * (len(config.cross_attention) - 1)))
    )


def prepare(job: Job) -> Work:
    """The encoder of a contender, and the picture."""
    torch.manual_seed(0)
    inputs = build_modality(bench.model_config(job).inputs)
    own = Encoder(encoder_config(job.what), channels=inputs.channels).eval()
    array = inputs.embed(bench.pictures(inputs, job.size))
    small = inputs.embed(bench.pictures(inputs, min(bench.WARM_UP_SIZE, job.size)))
    build = {"lucidrains": lucidrains, "transformers": transformers}.get(job.contender)
    if build is None:
        module, path, answer = own, job.contender, own
    else:  # it needs dense rows: building them is part of its work, as it is of the projected path's
        module, forward = build(own, inputs.channels)
        path, answer = "auto", lambda array: forward(array.dense())
    run = bench.runner(job, module, lambda: answer(array), path=path)
    warm_up = bench.runner(replace(job, stage="forward"), module, lambda: answer(small), path=path)
    comparable = job.stage == "forward" and job.contender in ("projected", "transformers")
    check = partial(difference, lambda: answer(array), own, array, path) if comparable else None
    return Work(run, warm_up, check=check)


def transformers(own: Encoder, channels: int) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """PerceiverModel of the same shape with the same weights."""
    from transformers import PerceiverConfig, PerceiverModel

    config = own.config
    model = PerceiverModel(
        PerceiverConfig(
            num_latents=config.num_latents,
            d_latents=config.latent_channels,
            d_model=channels,
            num_blocks=len(config.latent_transformer),
            num_self_attends_per_block=config.num_layers,
            num_self_attention_heads=config.num_self_attention_heads,
            num_cross_attention_heads=config.num_cross_attention_heads,
            self_attention_widening_factor=config.self_attention_mlp_ratio,
            cross_attention_widening_factor=config.cross_attention_mlp_ratio,
            hidden_act="gelu_pytorch_tanh",
            attention_probs_dropout_prob=0.0,
        )
    ).eval()
    table = CHECKPOINTS["fourier"].table(config.num_layers)
    names = {row.hf: row.ours for row in table if row.ours.startswith("encoder.")}
    weights = {f"encoder.{name}": tensor for name, tensor in own.state_dict().items()}
    model.load_state_dict({theirs.removeprefix("perceiver."): weights[ours] for theirs, ours in names.items()})
    return model, lambda dense: model(dense).last_hidden_state


def lucidrains(own: Encoder, channels: int) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """perceiver-pytorch's Perceiver in the nearest configuration; peers_report.py says what differs."""
    from perceiver_pytorch import Perceiver

    config = own.config
    model = Perceiver(
        num_freq_bands=0,
        max_freq=1,
        fourier_encode_data=False,  # it is given our rows, positions and all
        input_channels=channels,
        input_axis=1,
        depth=len(config.cross_attention),
        self_per_cross_attn=config.num_layers,
        num_latents=config.num_latents,
        latent_dim=config.latent_channels,
        cross_heads=config.num_cross_attention_heads,
        latent_heads=config.num_self_attention_heads,
        cross_dim_head=channels,
        latent_dim_head=config.latent_channels // config.num_self_attention_heads,
        weight_tie_layers=True,
        final_classifier_head=False,
    ).eval()
    return model, model


def difference(answer: Callable[[], Tensor], own: Encoder, array: ByteArray, path: str) -> float:
    """The largest difference from this project's answer, relative to the largest number in it."""
    with torch.no_grad():
        with attention_path(own, path):  # type: ignore[arg-type]
            other = answer()
        ours = own(array)
    return float((other - ours).abs().max() / ours.abs().max())


def cost(job: Job) -> Cost:
    """What a contender is expected to need; the peers build latents × rows in every cross-attend."""
    config, inputs = encoder_config(job.what), bench.model_config(job).inputs
    training = job.stage == "step"
    if job.contender in ("auto", "projected"):
        return encoder_cost(config, inputs, path=job.contender, training=training)  # type: ignore[arg-type]
    projected = encoder_cost(config, inputs, path="projected", training=training)
    cross_attends = sum(number is not None for number in config.cross_attention)
    copies = cross_attends + 2 if training else 3  # of latents × rows
    flop = projected.flop * (2.5 if job.contender == "lucidrains" else 1)  # its MLPs are six times as large
    return Cost(memory=projected.memory + 4.0 * copies * job.size**2 * config.num_latents, flop=flop)


def keep(results: list[Result], surroundings: dict[str, str]) -> None:
    """Merge results into the file: a job that was run again replaces its older self, every other one stays."""
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else []
    fresh = [asdict(result) | {"environment": surroundings} for result in results]
    again = [result["job"] for result in fresh]
    text = json.dumps([row for row in kept if row["job"] not in again] + fresh, indent=1, ensure_ascii=False)
    replace_file(RESULTS, lambda path: path.write_text(text + "\n", "utf-8"))


def measured_here(sizes: tuple[int, ...], *, rounds: int, minutes: float) -> list[Result]:
    """Run every contender at every size; the files are written after each group."""
    bench.check_options(sizes, rounds=rounds)
    peers = {name: version(name) for name in ("transformers", "perceiver-pytorch")}
    command = f"python benchmarks/peers.py --rounds {rounds} --limit-minutes {minutes:g}"
    surroundings = bench.environment() | peers | {"command": f"{command} --sizes …"}
    limit, results = 60 * minutes, []
    for size in sizes:
        for what, contenders in CONTENDERS.items():
            for stage in ("forward", "step"):
                group = [Job(what, contender, size, stage) for contender in contenders]
                print(group[0].title, flush=True)
                found = race(
                    group,
                    rounds=rounds,
                    measured_by=partial(measure_apart, command=(__file__, "--job"), limit=limit),
                    refused=lambda job: refusal(cost(job), limit=limit),
                    tell=partial(print, flush=True),
                )
                keep(found, surroundings)
                write_report(RESULTS)
                results += found
    return results


def main() -> None:
    """Measure, write, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES, help=f"sides of the picture, such as {SIZES}")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender has its turn")
    parser.add_argument("--limit-minutes", type=float, default=10, help="the longest that one measurement may take")
    parser.add_argument("--job", help=argparse.SUPPRESS)  # a process of one measurement
    arguments = parser.parse_args()
    if arguments.job is not None:
        serve(prepare, arguments.job)
        return
    try:
        sizes = bench.parse_sizes(arguments.sizes)
        results = measured_here(sizes, rounds=arguments.rounds, minutes=arguments.limit_minutes)
    except InputError as error:
        sys.exit(f"peers.py: {error}")
    differences = {
        f"{result.job.title}, {result.job.contender}": result.measured.difference
        for result in results
        if result.measured is not None and result.measured.difference is not None
    }
    for title, found in differences.items():
        print(f"{title}: differs from this project's answer by {found:.1e}")
    if any(found > TOLERANCE for found in differences.values()):
        sys.exit(f"answers differ by more than {TOLERANCE:g}")


if __name__ == "__main__":
    main()
