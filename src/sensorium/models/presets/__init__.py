"""The papers' models, one small file of values each, and ``auto``, which chooses values for the data at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from ...config import from_dict, read_yaml, record
from ...errors import InputError, did_you_mean
from ...modalities import FusionConfig, ModalityConfig
from ...nn import DecoderConfig, EncoderConfig
from ...tasks import ClassifyConfig, FlowConfig, MLMConfig, ReconstructConfig, TagConfig, TaskConfig
from ..auto import (
    Everywhere,
    Facts,
    choose_decoder,
    choose_encoder,
    choose_flow,
    choose_inputs,
    choose_mlm,
    choose_recipe,
    choose_reconstruction,
)
from ..perceiver import Perceiver, PerceiverConfig
from ..recipe import RecipeConfig

FOLDER = Path(__file__).parent
T = TypeVar("T")


@record
class Preset:
    """A model and the recipe it is trained by.

    Attributes:
        about: what it does, in a line.
        source: the paper's section; what is not stated there.
        task: what the paper asks.
        classes: how many classes the paper has; none, where the signal is its own target.
        decoder: None: the mean of the latents.
    """

    about: str
    source: str
    task: Literal["classify", "tag", "mlm"] | ReconstructConfig | FlowConfig
    classes: int = 0
    inputs: ModalityConfig
    encoder: EncoderConfig
    decoder: DecoderConfig | None = None
    recipe: RecipeConfig

    def model(self) -> PerceiverConfig:
        """The paper's own model, its classes numbered."""
        classes = tuple(str(number) for number in range(self.classes))
        asked: dict[str, TaskConfig] = {
            "classify": ClassifyConfig(classes=classes),
            "tag": TagConfig(classes=classes),
            "mlm": MLMConfig(),
        }
        task = asked[self.task] if isinstance(self.task, str) else self.task
        return PerceiverConfig(inputs=self.inputs, encoder=self.encoder, decoder=self.decoder, task=task)


def names() -> tuple[str, ...]:
    """The papers' models, by name.

    >>> "perceiver-imagenet" in names()
    True
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


@cache
def load(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: there is none; the closest name is offered.
    """
    if name not in names():
        raise InputError(f"preset {name!r}: there is none; {did_you_mean(name, (*names(), 'auto'))}")
    return from_dict(Preset, read_yaml(FOLDER / f"{name}.yaml"), where=name)


def wanted(name: str, kinds: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the signals that a preset reads: of films with sound the pictures alone, where it reads video. Where
    it is not clear which, all of them. A label may be lacking.

    Args:
        name: a preset's name, or ``auto``.
        kinds: the kind of each signal of the data, by its name.

    Raises:
        InputError: no such preset.
    """
    if name == "auto":
        return tuple(kinds)
    reads = _kinds(load(name).inputs)
    found = {signal: kind for signal, kind in kinds.items() if kind in reads.values()}
    return tuple(kinds if _ours(reads, found) is None else found)


def reads_labels(name: str) -> bool:
    """Whether a preset's signals have a label among them."""
    return name != "auto" and "label" in _kinds(load(name).inputs).values()


def choose(
    name: str, measured: Any, *, examples: int, minutes: float | None, everywhere: Everywhere | None = None
) -> tuple[ModalityConfig, EncoderConfig, DecoderConfig | None, RecipeConfig]:
    """Inputs, encoder, decoder and recipe for some data: a paper's, or ``auto``'s choice.

    Args:
        name: a preset's name, or ``auto``.
        measured: the modality's configuration as measured on the data.
        examples: how many there are to train on.
        minutes: the time given; None: not said.
        everywhere: what is asked of every place of the signal; None: it is asked about as a whole.

    Raises:
        InputError: no such preset, or it reads another kind of signal.
    """
    if name == "auto":
        facts = Facts(examples, minutes, everywhere)
        inputs = choose_inputs(measured, facts)
        encoder = choose_encoder(inputs, facts)
        return inputs, encoder, choose_decoder(encoder, facts), choose_recipe(inputs, facts)
    preset = load(name)
    reads, has = _kinds(preset.inputs), _kinds(measured)
    ours = _ours(reads, has)
    if ours is None:
        told = [" and ".join(sorted(kinds.values())) for kinds in (reads, has)]
        raise InputError(f"preset {name!r} reads {told[0]}, the data is {told[1]}; use --preset auto")
    inputs = preset.inputs
    if isinstance(inputs, FusionConfig):
        # The paper's modalities under the names that the data gives them, and the data's classes.
        parts = {ours[one]: config for one, config in inputs.modalities.items()}
        parts |= {one: measured.modalities[one] for one, kind in has.items() if kind == "label"}
        inputs = replace(inputs, modalities=parts, dropout=_renamed(inputs.dropout, ours))
    return inputs, preset.encoder, preset.decoder, preset.recipe


def choose_task(name: str, kind: Everywhere, inputs: Any) -> MLMConfig | FlowConfig | ReconstructConfig:
    """What is learned of the signal itself, or of its motion: as the paper asks it, or ``auto``'s choice."""
    if kind == "mlm":
        return choose_mlm(inputs) if name == "auto" else MLMConfig()
    preset = None if name == "auto" else load(name)
    task = None if preset is None else preset.task
    if kind == "flow":
        flow = choose_flow(inputs)
        return replace(task, warps=task.warps or flow.warps) if isinstance(task, FlowConfig) else flow
    ours = None if preset is None else _ours(_kinds(preset.inputs), _kinds(inputs))
    if ours is None or not isinstance(task, ReconstructConfig):
        return choose_reconstruction(inputs)
    return replace(
        task,
        mask_ratio=_renamed(task.mask_ratio, ours) if isinstance(task.mask_ratio, dict) else task.mask_ratio,
        elementwise=tuple(ours[one] for one in task.elementwise),
        num_queries=_renamed(task.num_queries, ours),
        loss_weights=_renamed(task.loss_weights, ours),
    )


def _ours(reads: Mapping[str, str], has: Mapping[str, str]) -> dict[str, str] | None:
    """The name that the data gives each signal of a preset, kind by kind; a label may be lacking and then keeps its own
    name. None: they are not of the same kinds.

    >>> _ours({"image": "image", "class": "label"}, {"photo": "image"})
    {'image': 'photo', 'class': 'class'}
    """
    lacking = {one: one for one, kind in reads.items() if kind == "label" and kind not in has.values()}
    theirs = sorted((kind, one) for one, kind in reads.items() if one not in lacking)
    ours = sorted((kind, one) for one, kind in has.items())
    if [kind for kind, _ in theirs] != [kind for kind, _ in ours]:
        return None
    return {one: name for (_, one), (_, name) in zip(theirs, ours, strict=True)} | lacking


def _renamed(values: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    return {names[one]: value for one, value in values.items()}


def _kinds(inputs: Any) -> dict[str, str]:
    """The kind of each signal."""
    if isinstance(inputs, FusionConfig):
        return {name: config.kind for name, config in inputs.modalities.items()}
    return {inputs.kind: inputs.kind}


def build(config: str | Path | PerceiverConfig) -> Perceiver:
    """A fresh model from a preset's name, a YAML file or a configuration.

    Args:
        config: the name of a paper's model; the path of a YAML file with a model's configuration (or a run's, with one
            under ``model``); or the configuration itself.

    Raises:
        InputError: no such preset or file, or a value that does not fit.
    """
    if isinstance(config, PerceiverConfig):
        return Perceiver(config)
    if Path(config).suffix in (".yaml", ".yml"):
        values = read_yaml(Path(config))
        inner = values.get("model", values) if isinstance(values, dict) else values
        return Perceiver(from_dict(PerceiverConfig, inner, where=str(config)))
    return Perceiver(load(str(config)).model())


__all__ = ["Everywhere", "Preset", "build", "choose", "choose_task", "load", "names"]
