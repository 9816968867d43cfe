"""How a model is trained, as values: what a preset, a run's ``config.yaml`` and ``auto`` say of it."""

from __future__ import annotations

from typing import Literal

from ..config import record


@record
class RecipeConfig:
    """What a training run does.

    Attributes:
        epochs: passes over the training examples; None: no limit but ``minutes``.
        minutes: wall-clock limit; None: no limit but ``epochs``. The first limit reached ends the run.
        batch_size: examples per step.
        optimizer: ``muon`` turns the matrices of the blocks by Muon and leaves the rest to AdamW.
        learning_rate: its highest value.
        weight_decay: decoupled; matrices, latents and learned positions only, never biases and norms.
        betas: of the moment estimates of AdamW and LAMB; Muon's momentum is 0.95.
        schedule: ``cosine`` falls to zero, ``flat-cosine`` is constant for the first half, ``milestones`` multiplies by
            0.1 at each of ``milestones``, ``constant`` stays.
        warmup: share of the run in which the learning rate rises linearly from zero.
        milestones: shares of the run at which the ``milestones`` schedule falls.
        gradient_clip: largest norm of the whole gradient; None: no clipping.
        label_smoothing: label smoothing.
        mixup: alpha of the Beta distribution of the shares by which pairs of examples are added up; 0: none are.
        cutmix: alpha of that of the shares that are left of pictures around a box of another picture; 1: uniform,
            0: no boxes. With ``mixup``, each has half of every batch.
        drop_rows: share of the input rows left out of each training example.
        ema_decay: decay of the moving average of the weights that is evaluated and kept; 0: the weights themselves.
        attention_init: initial weights of cross-attention: ``default``, the authors', or ``aligned``: each latent
            attends to its own part of the signal's grid, and each query to the latents of its position
            (:mod:`sensorium.training.aligned`), for tasks with an output for every position.
        checkpointing: keep less for the backward pass and compute it anew: a third more time, far less memory.
        precision: of the arithmetic; ``auto`` measures once, at the start, which one is faster here.
    """

    epochs: float | None = None
    minutes: float | None = None
    batch_size: int = 64
    optimizer: Literal["adamw", "muon", "lamb"] = "muon"
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    schedule: Literal["cosine", "flat-cosine", "steps", "constant"] = "cosine"
    warmup: float = 0.0
    milestones: tuple[float, ...] = ()
    gradient_clip: float | None = 1.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    drop_rows: float = 0.0
    ema_decay: float = 0.0
    attention_init: Literal["default", "aligned"] = "default"
    checkpointing: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
