"""The options that several commands have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

Words: TypeAlias = Annotated[tuple[str, ...], Parameter(show_default=False)]  # an option that may be repeated
Settings: TypeAlias = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set", show_default=False, help="Change one value of the run, as in recipe.batch_size=8; repeatable."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What the user says of data; the names are the arguments of ``recognise``.

    Attributes:
        dataset: A dataset.yaml that describes the data; by default the one beside the data, if there is one.
        fold: The fold to test on, where the data has folds; by default the last one.
        target: The column or key to predict; several with commas between them. By default the one that is called label,
            target, class or the like.
        ignore: A column or key that is not used; repeatable.
        group: The column whose values stay together in a split, such as the person or the recording; by default the one
            that is called so. "none": there is none.
        kind: The kind of the signal, such as points or series; or NAME=KIND, repeatable: a column or key that is an
            input, and its kind. By default judged by names, endings and content.
        axes: What the axes of an array are, such as time,channels; of one of several signals, NAME=AXES. By default
            judged by how smooth the array is along each.
        window: Cut long recordings into windows of this many steps; 0 leaves them whole. By default those of tables are
            cut whose labels change, or that are longer than 4,096 steps.
        hop: Steps from the beginning of a window to the next; by default half a window.
        val: The share of the training examples that is set aside for validation, where the data has no such split; by
            default 0.1 of 500 examples or more, otherwise 0.
    """

    dataset: Path | None = None
    fold: str | None = None
    target: str | None = None
    ignore: Words = ()
    group: str | None = None
    kind: Words = ()
    axes: str | None = None
    window: int | None = None
    hop: int | None = None
    val: float | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PlanOptions(DataOptions):
    """The options of every command that plans a run; their names are the arguments of ``plan``.

    Attributes:
        preset: "auto", or the name of a paper's model; "sensorium presets" lists them.
        minutes: Stop training after this many minutes; by default as the preset says, with auto 20.
        epochs: Stop training after this many passes over the training examples; by default as the preset says.
        steps: Stop training after this many steps of the optimizers; by default as the preset says.
        class_weights: "balanced": rare classes count as much in training as frequent ones.
        permute: Permute the pixels of pictures, all pictures alike, in training and ever after: which models need to
            know that pixels have neighbours?
    """

    preset: str = "auto"
    minutes: float | None = None
    epochs: float | None = None
    steps: int | None = None
    class_weights: Literal["balanced"] | None = None
    permute: Annotated[bool, Parameter(show_default=False)] = False
    settings: Settings = ()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainOptions(PlanOptions):
    """The options of every command that trains; their names are the arguments of ``train``.

    Attributes:
        out: The run folder; runs/NAME by default.
        seed: The seed of everything random; the same seed gives the same weights.
        resume: Go on with the interrupted run in OUT, with its own options.
        devices: Processes on this machine that train together, each with a GPU where there are some.
        nodes: Machines; the command is started on each of them (docs/scaling.md).
        strategy: What the processes share: with ddp each holds the whole model, with fsdp a part of it.
        checkpoint_minutes: Minutes between two checkpoints, besides those after each validation pass.
        log: A program that gets the figures, too: tensorboard, or wandb (Weights & Biases); repeatable.
    """

    out: Path | None = None
    seed: int = 0
    resume: Annotated[bool, Parameter(show_default=False)] = False
    devices: int = 1
    nodes: int = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    checkpoint_minutes: float = 5.0
    log: Words = ()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CompareOptions(PlanOptions):
    """The options of ``sensorium compare``; their names are the arguments of ``compare``.

    Attributes:
        out: The folder of the comparison, with a run folder for each model; comparisons/NAME by default.
        only: The name of a model that takes part; repeatable. By default all do: sensorium, perceiver (without stems),
            resnet, vit, transformer and lucidrains.
        seed: The first seed.
        seeds: How many seeds each model is trained with.
        resume: Go on with the comparison in OUT, with its own options; what is finished is not trained again.
    """

    out: Path | None = None
    only: Words = ()
    seed: int = 0
    seeds: int = 1
    resume: Annotated[bool, Parameter(show_default=False)] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """The options of ``sensorium explain`` beside where it writes and computes.

    Attributes:
        method: Whose map of the predicted class to draw and to judge: attention, rollout or integrated-gradients;
            repeatable. "all": each of them; "none". By default integrated-gradients.
        of_class: The class that maps are drawn for; by default the predicted one.
        latents: Draw the attention of single latents, as the papers do: numbers and ranges such as 1-16,20, or "all".
        heads: Draw the attention of single heads, such as 1,2, or "all"; by default the mean over the heads.
        cross_attend: Draw single latents of these cross-attends only, such as 1,8.
        before_softmax: Draw single latents before the softmax.
    """

    method: Words = ()
    of_class: Annotated[str | None, Parameter(name="--class")] = None
    latents: str | None = None
    heads: str | None = None
    cross_attend: str | None = None
    before_softmax: Annotated[bool, Parameter(show_default=False)] = False
