"""What a model costs here: the seconds and the memory of a training step, and the operations of a forward pass.

Models are measured in a process of their own, one after the other and the smallest first, so that what one needs is not
hidden in what another left, and so that one that is too large for the machine ends nothing but the measuring.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..config import from_dict, to_dict
from ..inference.bench import peak_memory
from ..models.perceiver import Perceiver
from ..nn import attention_path
from .ema import Ema
from .optimizers import optimizers
from .plan import RunConfig
from .step import TrainingStep, update

STEPS = 2  # that are timed, after one that warms up
LIMIT_SECONDS = 900.0  # that measuring one contender in all its sizes may take


@dataclass(frozen=True)
class StepCost:
    """What a model costs.

    Attributes:
        seconds: of a training step: forward, backward, optimizer and moving average.
        peak: bytes that training takes at its highest: weights, gradients, optimizer and activations.
        flop: floating point operations of the forward pass of one example, with keys and values projected, as the
            papers count; a multiplication and an addition are two.
        parameters: shared ones count once.
    """

    seconds: float
    peak: int
    flop: float
    parameters: int


def measure_apart(configs: Sequence[RunConfig], batch: Path, *, enough: float) -> tuple[list[StepCost], str]:
    """Measure models in a fresh Python, until one is too slow.

    Args:
        configs: of the runs, the smallest first.
        batch: a file with a batch of training examples, as :func:`write_batch` makes it.
        enough: seconds of a step; after the first model that takes longer no other is measured.

    Returns:
        the costs of those that were measured, and why the next one was not, if the process failed.
    """
    job = {
        "configs": [to_dict(config) for config in configs],
        "batch": str(batch),
        "enough": enough,
        "threads": torch.get_num_threads(),
    }
    command = [sys.executable, "-m", "sensorium.training.step_costs"]
    try:
        child = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, timeout=LIMIT_SECONDS)
        output, reason = child.stdout, ""
        if child.returncode < 0:
            reason = f"measuring it was killed by signal {-child.returncode}, most likely for want of memory"
        elif child.returncode:
            reason = (child.stderr.strip().splitlines() or ["measuring it failed without a message"])[-1]
    except subprocess.TimeoutExpired as error:
        output, reason = _text(error.stdout), f"measuring it took more than {LIMIT_SECONDS / 60:.0f} minutes"
    lines = [line for line in output.splitlines() if line.startswith("{") and line.endswith("}")]
    return [StepCost(**json.loads(line)) for line in lines], reason


def write_batch(batch: Mapping[str, Tensor], path: Path) -> None:
    """Write a batch for :func:`measure_apart`."""
    torch.save(dict(batch), path)


def measure(config: RunConfig, batch: Mapping[str, Tensor], *, before: int = 0) -> StepCost:
    """Take some training steps as the run would take them, and count the operations of a forward pass.

    Args:
        config: of the run.
        batch: of training examples, with targets.
        before: bytes of this process without the model, which are not counted.
    """
    torch.manual_seed(config.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _forget_peak()
    model = Perceiver(config.model).to(device)
    recipe, generator = config.recipe, torch.Generator().manual_seed(config.seed)
    chosen = optimizers(recipe, model)
    ema = Ema(model, decay=recipe.ema_decay) if recipe.ema_decay else None
    batch, step = model.to_device(batch), TrainingStep(model, recipe)
    seconds = float("inf")
    for _ in range(1 + STEPS):
        began = time.perf_counter()
        loss, _ = step(step.prepare(batch, generator), torch.ones(1, device=device), generator)
        loss.backward()
        update(model, chosen, learning_rate=recipe.learning_rate, clip=recipe.gradient_clip)
        if ema is not None:
            ema.update(model)
        loss.item()  # waits for the device
        seconds = min(seconds, time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else max(0, peak_memory() - before)
    return StepCost(seconds, peak, forward_flop(model, batch), model.parameter_count())


def forward_flop(model: Perceiver, batch: Mapping[str, Tensor]) -> float:
    """The operations of a forward pass of the first example of a batch."""
    view = model.inputs.view({name: tensor[:1] for name, tensor in batch.items()})
    prepared = model.eval().prepare(view)
    # The counter knows neither this project's operations nor torch's attention on a CPU, but what both are made of.
    counter = FlopCounterMode(display=False)
    with attention_path(model, "projected"), sdpa_kernel(SDPBackend.MATH), counter:
        model(prepared.inputs, prepared.query_indices)
    return float(counter.get_total_flops())


def _forget_peak() -> None:
    """Count the highest memory anew, where the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "utf-8")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _memory_without_model() -> int:
    """Bytes of this process once torch has loaded what any training needs."""
    layers = torch.nn.Sequential(torch.nn.Conv1d(4, 4, 3), torch.nn.Linear(6, 2))
    optimizer = torch.optim.AdamW(layers.parameters())
    layers(torch.rand(2, 4, 8)).sum().backward()
    optimizer.step()
    _forget_peak()
    return peak_memory()


def _text(output: bytes | str | None) -> str:
    return output.decode() if isinstance(output, bytes) else output or ""


def main() -> None:
    """The other side of :func:`measure_apart`: a job comes in, and a line for each model goes out."""
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    batch = torch.load(job["batch"], weights_only=True)
    before = _memory_without_model()
    for values in job["configs"]:
        cost = measure(from_dict(RunConfig, values), batch, before=before)
        print(json.dumps(asdict(cost)), flush=True)
        if cost.seconds > job["enough"]:
            break


if __name__ == "__main__":
    main()
