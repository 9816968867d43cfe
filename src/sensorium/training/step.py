"""What a training step computes: the loss of a part of a batch, and the update of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..models.perceiver import Perceiver
from ..models.recipe import RecipeConfig
from ..tasks import Prepared
from .mixing import mix
from .precision import products_in


def part_generator(seed: int, step: int, part: int) -> torch.Generator:
    """The generator of everything random in a part of a batch: augmentation, mixing, what is hidden or left out. It
    depends on these numbers alone, so that nothing random needs to be kept to go on with a run.

    Args:
        seed: of the run.
        step: from 0.
        part: its number in the batch, over all processes.
    """
    return torch.Generator().manual_seed(seed * 1_000_003 + step + (part << 40))


@contextmanager
def dropout_drawn_from(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """A context in which dropout, which takes no generator, draws from the seed of one; afterwards torch's own
    generators are as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generator.initial_seed())
        yield


class TrainingStep(nn.Module):
    """A model with its loss in training, as one module, because the engine averages gradients over processes for calls
    of a module.

    Args:
        model: what is trained.
        recipe: how; its ``precision`` is chosen already.
    """

    def __init__(self, model: Perceiver, recipe: RecipeConfig) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def prepare(self, batch: Mapping[str, Tensor], generator: torch.Generator, *, strength: float = 1.0) -> Prepared:
        """A part of a batch as the model sees it: on its device, augmented, with targets, mixed where the recipe says
        so.

        Args:
            batch: decoded examples with targets, on any device.
            generator: of this part, on the CPU.
            strength: of augmentation, from 0 to 1; 0: neither augmented nor mixed, as in the first share of a run.
        """
        inputs = self.model.inputs
        batch = batch if inputs.augments_on_host else self.model.to_device(batch)
        if strength:
            view = inputs.augment_at(strength, batch, generator)
        else:
            view = self.model.task.unaugmented(inputs.view(batch))
        prepared = self.model.prepare(self.model.to_device(view), generator)
        mixup, cutmix = self.recipe.mixup, self.recipe.cutmix
        if not strength or (not mixup and not cutmix):
            return prepared
        mixed, targets = mix(prepared.inputs, inputs, prepared.targets, mixup=mixup, cutmix=cutmix, generator=generator)
        return Prepared(mixed, targets, prepared.query_indices)

    def forward(self, prepared: Prepared, shares: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The share of the batch's loss and training accuracy that this part has: two scalars, which add up over the
        parts to those of the whole batch.

        Args:
            prepared: the part.
            shares: (terms,): for each term of the task's loss, which share of what it is the mean of lies in this part.
            generator: of this part; the same that prepared it.
        """
        model, recipe = self.model, self.recipe
        with dropout_drawn_from(generator, self.device), products_in(recipe.precision, self.device):
            # Queries may be rows of the whole input, except where there is one answer for each example.
            array = None if model.task.per_example else model.embed(prepared.inputs)
            latents = model.encode(
                prepared.inputs if array is None else array,
                drop_rows=recipe.drop_rows,
                generator=generator,
                checkpointing=recipe.checkpointing,
            )
            output = model.decode(latents, model.queries(prepared.inputs, prepared.query_indices, array=array)).output
            terms = model.task.loss_terms(output, prepared.targets, label_smoothing=recipe.label_smoothing)
        with torch.no_grad():
            accuracy = model.task.training_accuracy(output, prepared.targets) * shares[0]
        return (terms * shares).sum(), accuracy


def update(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], *, learning_rate: float, clip: float | None
) -> None:
    """A step of each optimizer, after which there are no gradients.

    Args:
        model: with the gradients of the whole batch.
        optimizers: of all its parameters.
        learning_rate: of this step.
        clip: the largest norm of the gradient; None: any.
    """
    if clip is not None:
        parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
        norm: Any = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])  # type: ignore[misc]
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        optimizer.zero_grad()
