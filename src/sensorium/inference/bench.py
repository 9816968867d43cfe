"""How long this project's own ways to compute a read take here, in time and memory: ``sensorium bench``."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..modalities import Modality, build_modality
from ..models import presets
from ..models.perceiver import Perceiver, PerceiverConfig
from ..nn import Encoder, EncoderConfig
from ..nn.attention import Block
from ..nn.ops import compiled_name
from ..nn.rows import Path as ReadPath
from ..nn.rows import Rows, reading
from .environment import processor_name, structured_read, versions
from .measuring import Cost, Job, Precision, Result, Stage, Work, measured_apart, race, refusal, serve

WHAT = ("read", "model")
READ: tuple[ReadPath, ...] = ("projected", "folded", "structured")
# Of the whole model: path, precision, checkpointing (of a step).
MODEL: tuple[tuple[ReadPath, Precision, bool], ...] = (
    ("projected", "float32", False),
    ("auto", "float32", False),
    ("auto", "bfloat16", False),
    ("auto", "float32", True),
    ("auto", "bfloat16", True),
)
WARM = 16  # the side of the picture that a model warms up on: a large one makes nothing warmer


@dataclass(frozen=True)
class Product:
    """``count`` times ``batch`` matrix products, rows × inner by inner × columns."""

    count: int
    batch: int
    rows: int
    inner: int
    columns: int

    @property
    def flop(self) -> float:
        return 2.0 * self.count * self.batch * self.rows * self.inner * self.columns


def compare(
    sizes: Sequence[int],
    *,
    rounds: int = 2,
    batch: int = 1,
    what: Sequence[str] = WHAT,
    model: str = "perceiver-imagenet",
    tell: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Time one read at each size, and the whole model at the largest one, each way beside projected float32 reads.

    Args:
        sizes: sides of the picture.
        rounds: how often each contender has its turn.
        batch: examples at a time.
        what: ``read``, ``model`` or both.
        model: a preset's name, or the path of a YAML file with a model's configuration.
        tell: hears of the progress, a line at a time.

    Raises:
        InputError: no such size, batch, number of rounds or model.
    """
    check(sizes, rounds=rounds)
    if not what or not set(what) <= set(WHAT):
        raise InputError(f"--what {','.join(what)}: use {' or '.join(WHAT)} or both, with a comma between them")
    if batch < 1:
        raise InputError(f"--batch {batch}: use at least 1")
    stages: tuple[Stage, ...] = get_args(Stage)
    groups = [
        [Job("read", path, size, stage, batch, model=model) for path in READ] for size in sizes for stage in stages
    ] + [
        [
            Job("model", path, max(sizes), stage, batch, precision, checkpointing, model)
            for path, precision, checkpointing in MODEL
            if stage == "step" or not checkpointing
        ]
        for stage in stages
    ]
    groups = [group for group in groups if group[0].what in what]
    results: list[Result] = []
    for number, group in enumerate(groups, 1):
        tell(f"{number} of {len(groups)}: {group[0].title}")
        results += race(
            group, rounds=rounds, measured_by=measured_apart, refused=lambda job: refusal(cost(job)), tell=tell
        )
    return results


def check(sizes: Sequence[int], *, rounds: int) -> None:
    """Refuse what cannot be measured."""
    if not sizes or min(sizes) < 1:
        raise InputError(f"--sizes {','.join(map(str, sizes))}: name sides of pictures in pixels, such as 64,224")
    if rounds < 1:
        raise InputError(f"--rounds {rounds}: use at least 1")


def read_sizes(text: str) -> tuple[int, ...]:
    """The sizes in ``224,64``, smallest first.

    >>> read_sizes("224, 64")
    (64, 224)
    """
    if not re.fullmatch(r"\s*[1-9]\d{0,4}\s*(,\s*[1-9]\d{0,4}\s*)*", text):
        raise InputError(f"--sizes {text}: name sides of pictures in pixels, with commas between them, such as 64,224")
    return tuple(sorted({int(size) for size in text.split(",")}))


def environment() -> dict[str, str]:
    """What times depend on besides the code."""
    return {
        "processor": processor_name(),
        "threads": str(torch.get_num_threads()),
        "structured read": structured_read(),
        **versions(),
    }


# -- what it costs ------------------------------------------------------------------------------------------------


def cost(job: Job) -> Cost:
    """What one of this project's jobs will need."""
    config = model_config(job)
    with torch.device("meta"):
        inputs = build_modality(config.inputs)
    encoder = (
        config.encoder
        if job.what == "model"
        else replace(config.encoder, cross_attention=(0,), latent_transformer=(None,))
    )
    return encoder_cost(encoder, inputs, path=job.contender, stage=job.stage, batch=job.batch)


def encoder_cost(encoder: EncoderConfig, inputs: Modality, *, path: str, stage: Stage, batch: int = 1) -> Cost:
    """What an encoder needs; generous in memory, which hurts more than time."""
    rows, channels = inputs.num_rows, inputs.channels
    reads = sum(read is not None for read in encoder.cross_attention)
    weights = float(encoder.num_latents * rows)
    match path:
        case "projected":  # in training every read keeps its inputs, keys and values
            flop = 4 * channels * (rows * channels + weights)
            floats = channels * (6 if stage == "forward" else 3 * reads + 5)
        case "folded":
            flop, floats = 4 * channels * weights, 3 * channels
        case _:  # of which an exponential is the most
            flop, floats = (40 if compiled_name() else 400) * weights, 30
    latent = sum(product.flop for product in latent_products(encoder, channels))
    each, flop = 4.0 * rows * floats, reads * flop + latent
    if stage == "step":  # some ten arrays of latents are kept for every block
        blocks = reads + encoder.num_layers * sum(process is not None for process in encoder.latent_transformer)
        each, flop = each + 4.0 * 15 * blocks * encoder.num_latents * encoder.latent_channels, 3.5 * flop
    return Cost(memory=1.5e9 + batch * each, flop=batch * flop)


def latent_products(encoder: EncoderConfig, channels: int) -> list[Product]:
    """The matrix products of a forward pass but those over the rows: projections, MLPs and latent attention.

    >>> round(sum(product.flop for product in latent_products(EncoderConfig(), 261)) / 1e9)
    383
    """
    latents, width, heads = encoder.num_latents, encoder.latent_channels, encoder.num_self_attention_heads
    blocks = encoder.num_layers * sum(process is not None for process in encoder.latent_transformer)
    reads = sum(read is not None for read in encoder.cross_attention)
    each, head = channels // encoder.num_cross_attention_heads, width // heads
    return [
        Product(4 * blocks, 1, latents, width, width),  # query, key, value, out
        Product(blocks, heads, latents, head, latents),
        Product(blocks, heads, latents, latents, head),
        Product(blocks, 1, latents, width, encoder.self_attention_mlp_ratio * width),
        Product(blocks, 1, latents, encoder.self_attention_mlp_ratio * width, width),
        Product(reads, 1, latents, width, channels),  # query
        Product(
            reads, encoder.num_cross_attention_heads, latents, each, channels
        ),  # the key projection, folded into it
        Product(reads, encoder.num_cross_attention_heads, latents, channels, each),  # value
        Product(reads, 1, latents, channels, width),  # out
        Product(reads, 1, latents, width, encoder.cross_attention_mlp_ratio * width),
        Product(reads, 1, latents, encoder.cross_attention_mlp_ratio * width, width),
    ]


# -- in a process of its own --------------------------------------------------------------------------------------


def prepare(job: Job) -> Work:
    """One read with its projections, or the whole model, by one of this project's paths."""
    torch.manual_seed(0)
    return _read(job) if job.what == "read" else _model(job)


def model_config(job: Job) -> PerceiverConfig:
    """The configuration of the job's model, for pictures of the job's size.

    Raises:
        InputError: no such model, or one that does not read pictures.
    """
    with torch.device("meta"):
        config = presets.build(job.model).config
    if config.inputs.kind != "image":
        raise InputError(f"{job.model}: reads {config.inputs.kind}; name a model that reads pictures")
    return replace(config, inputs=replace(config.inputs, size=(job.size, job.size)))


def noise(inputs: Modality, size: int, *, batch: int = 1) -> dict[str, Tensor]:
    """A batch of pictures of random pixels."""
    return {inputs.name: torch.rand(batch, inputs.config.channels, size, size)}


def mean_square(answer: Tensor) -> Tensor:
    """A loss where there is no task."""
    return answer.float().square().mean()


def runner(
    job: Job,
    module: nn.Module,
    answer: Callable[[], Tensor],
    *,
    path: str,
    loss: Callable[[Tensor], Tensor] = mean_square,
) -> Callable[[], None]:
    """A forward pass, or a training step without the optimizer, as the job says."""

    def run() -> None:
        training = job.stage == "step"
        with (
            reading(path),  # type: ignore[arg-type]
            torch.set_grad_enabled(training),
            torch.autocast("cpu", torch.bfloat16, enabled=job.precision == "bfloat16"),
        ):
            given = answer()
            cost = loss(given) if training else None
        if cost is not None:
            cost.backward()
            module.zero_grad()

    return run


def _read(job: Job) -> Work:
    config = model_config(job)
    inputs, encoder = build_modality(config.inputs), config.encoder
    block = Block(
        encoder.latent_channels,
        inputs=inputs.channels,
        heads=encoder.num_cross_attention_heads,
        qk_channels=encoder.qk_channels,
        value_channels=encoder.value_channels,
    )
    block.mlp = nn.Sequential()  # a read alone
    latents = nn.Parameter(0.02 * torch.randn(1, encoder.num_latents, encoder.latent_channels))
    array = inputs.embed(noise(inputs, job.size, batch=job.batch))
    run = runner(job, block, lambda: block(latents, Rows.of(array)), path=job.contender)
    return Work(run, warm_up=run)


def _model(job: Job) -> Work:
    model = Perceiver(model_config(job)).eval()
    if model.decoder.linear is not None:
        nn.init.normal_(model.decoder.linear.weight, std=0.02)  # a head of zeros sends no slope back
    batch, small = noise(model.inputs, job.size, batch=job.batch), noise(model.inputs, min(WARM, job.size))
    prepared = model.prepare({**batch, "target": torch.zeros(job.batch)})
    run = runner(
        job,
        model,
        lambda: model.decode(model.encode(batch, checkpointing=job.checkpointing), model.queries(batch)).output,
        path=job.contender,
        loss=lambda output: model.loss(output, prepared.targets),
    )
    warm_up = runner(replace(job, stage="forward"), model, lambda: model.encode(small), path=job.contender)
    products = None
    if job.contender == "auto" and job.stage == "forward" and job.precision == "float32":
        products = _bare(model.encoder, batch=job.batch)  # type: ignore[arg-type]
    check = partial(_difference, job, model, batch) if job.stage == "forward" else None
    return Work(run, warm_up, products, check)


@torch.no_grad()
def _difference(job: Job, model: Perceiver, batch: dict[str, Tensor]) -> float:
    """How far the logits are from those of ``auto`` in float32, relative to the largest."""
    with reading(job.contender), torch.autocast("cpu", torch.bfloat16, enabled=job.precision == "bfloat16"):  # type: ignore[arg-type]
        logits = model(batch).output.float()
    with reading("auto"):
        exact = model(batch).output
    return float((logits - exact).abs().max() / exact.abs().max())


def _bare(encoder: Encoder, *, batch: int) -> Callable[[], None]:
    """The matrix products besides those over the rows, with the encoder's own weights, in its order, and nothing else:
    what a forward pass cannot be faster than."""
    config = encoder.config
    latents = torch.rand(batch * config.num_latents, config.latent_channels)
    heads, qk_channels = config.num_self_attention_heads, config.qk_channels or config.latent_channels
    query = torch.rand(batch * heads, config.num_latents, qk_channels // heads)
    value = torch.rand(batch * heads, config.num_latents, (config.value_channels or qk_channels) // heads)
    weights = torch.rand(batch * heads, config.num_latents, config.num_latents)
    inner: dict[int, Tensor] = {}  # what goes into a product with a weight of so many columns

    def project(linear: nn.Module) -> None:
        weight: Tensor = linear.weight  # type: ignore[assignment]
        columns = weight.shape[1]
        if columns not in inner:
            inner[columns] = torch.rand(len(latents), columns)
        inner[columns] @ weight.mT

    def block(block: nn.Module, read: bool) -> None:
        for module in block.modules():
            if isinstance(module, nn.Linear):
                project(module)
        if read:  # its key projection was one of query's width: folded, it is as large
            return
        query @ query.mT
        weights @ value

    @torch.no_grad()
    def run() -> None:
        for step in encoder.steps():
            if step.read is not None:
                block(step.read, True)
            for each in step.process or ():
                block(each, False)

    return run


if __name__ == "__main__":
    serve(prepare, sys.argv[1])
