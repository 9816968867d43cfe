"""The values by which a model is trained, as presets, ``auto`` and a run's ``config.yaml`` hold them."""

from __future__ import annotations

from typing import Literal

from ..config import record


@record
class RecipeConfig:
    """How a model is trained: limits, optimizer, learning rate, regularisation.

    Attributes:
        epochs: passes over the training examples, after which the run ends; None: no such limit.
        minutes: wall-clock time, after which the run ends; None: no such limit.
        steps: of the optimizers, after which the run ends; None: no such limit. Of several limits, the first one that
            is reached ends the run.
        batch_size: examples per step, of all processes together.
        accumulate: parts of a step's batch whose gradients are computed one after the other and added, for want of
            memory. The gradient is that of the whole batch; examples are mixed with others of their part, and texts
            joined.
        optimizer: ``muon`` updates the matrices of the attention blocks and of stems by Muon, everything else by AdamW.
        learning_rate: the highest learning rate of the schedule.
        learning_rate_per: the batch size that ``learning_rate`` is meant for: with k times as large a batch it is k
            times as high; None: it is the same for any batch.
        weight_decay: decoupled; it applies to everything but biases, norms and single numbers: to latents, learned
            positions and modality embeddings, too.
        betas: decay rates of the moment estimates of AdamW and LAMB; Muon's momentum is 0.95.
        schedule: ``cosine`` falls to zero; ``flat-cosine`` is constant for the first half and then falls to zero;
            ``steps`` multiplies the rate by 0.1 at each of ``milestones``; ``constant`` does not change it.
        warmup: share of the run in which the learning rate rises linearly from zero.
        milestones: shares of the run at which the schedule ``steps`` falls.
        gradient_clip: the largest norm that the gradient of all weights may have; None: no clipping.
        label_smoothing: the share of each target that is spread over all classes.
        unaugmented: share of the run, at its beginning, in which training examples are seen as in evaluation, neither
            augmented nor mixed; pairs of frames are then seen in both directions.
        growing: share of the run, after that, in which the augmentation of pairs of frames grows from nothing to all
            of it. That of other signals is all there at once.
        mixup: Mixup adds two examples in shares from Beta(mixup, mixup), as far as both have rows; 0: no Mixup.
        cutmix: CutMix puts a box of one picture into another, which keeps a share from Beta(cutmix, cutmix) of its
            area; 1: all shares are equally likely, 0: no CutMix. With ``mixup``, each takes half of every batch.
        drop_rows: share of the input rows that is left out of each training example.
        ema_decay: decay of the moving average of the weights, which is then evaluated and kept instead of the weights;
            0: no average.
        attention_init: initial weights of cross-attention: ``default``, the authors', or ``aligned``: each latent
            attends to its own part of the signal's grid, and each query to the latents of its position
            (:mod:`sensorium.training.aligned`), for tasks with an output for every position.
        checkpointing: whether activations are recomputed in the backward pass instead of kept: a third more time, far
            less memory.
        precision: of the matrix products; ``auto`` measures at the start which of the two is faster on this machine.
    """

    epochs: float | None = None
    minutes: float | None = None
    steps: int | None = None
    batch_size: int = 64
    accumulate: int = 1
    optimizer: Literal["adamw", "muon", "lamb"] = "muon"
    learning_rate: float = 1e-3
    learning_rate_per: int | None = None
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    schedule: Literal["cosine", "flat-cosine", "steps", "constant"] = "cosine"
    warmup: float = 0.0
    milestones: tuple[float, ...] = ()
    gradient_clip: float | None = 1.0
    label_smoothing: float = 0.0
    unaugmented: float = 0.0
    growing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    drop_rows: float = 0.0
    ema_decay: float = 0.0
    attention_init: Literal["default", "aligned"] = "default"
    checkpointing: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
