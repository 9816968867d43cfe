"""The papers' models, one small file of values each, and ``auto``, which chooses values for the data at hand.

A file may begin with ``extends: NAME`` and say only what is another than in the preset of that name. The papers' tables
compare models on the same inputs by the same recipe, and so the file of a baseline holds what makes it another row of
the table, and nothing twice. Mappings are merged key by key; one that says its ``kind`` takes the other's place as a
whole (:func:`extended`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from ...config import from_dict, read_yaml, record
from ...errors import InputError, did_you_mean
from ...modalities import KINDS, FusionConfig, ModalityConfig
from ...nn import DecoderConfig
from ...tasks import TASKS, FlowConfig, MLMConfig, ReconstructConfig, TaskConfig
from ..auto import Auto, Choice, Facts, choose_task, parts_of
from ..backbones import BackboneConfig
from ..perceiver import Perceiver, PerceiverConfig
from ..recipe import RecipeConfig

FOLDER = Path(__file__).parent
T = TypeVar("T")


@record
class Preset:
    """A paper's model and the recipe it is trained by.

    Attributes:
        about: what it does, in a line.
        source: the paper's section; what is not stated there.
        task: the task of the paper: its name, or its configuration where that does not depend on the data's labels.
        classes: the number of classes of the paper's data; 0 where the signal is its own target.
        decoder: None: the mean of the latents and a linear layer.
    """

    about: str
    source: str
    task: Literal["classify", "tag"] | MLMConfig | ReconstructConfig | FlowConfig
    classes: int = 0
    inputs: ModalityConfig
    encoder: BackboneConfig
    decoder: DecoderConfig | None = None
    recipe: RecipeConfig

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each signal that the model reads, by the paper's name of the signal."""
        return {name: part.kind for name, part in parts_of(self.inputs).items()}

    def model(self) -> PerceiverConfig:
        """The paper's own model; its classes are called by their numbers."""
        classes = tuple(str(number) for number in range(self.classes))
        task = TASKS[self.task].configure(classes=classes) if isinstance(self.task, str) else self.task
        return PerceiverConfig(inputs=self.inputs, encoder=self.encoder, decoder=self.decoder, task=task)

    def choose(self, measured: ModalityConfig, facts: Facts, *, start: PerceiverConfig | None = None) -> Choice:
        """The paper's model and recipe for some data: its modalities have the data's names.

        Args:
            measured: the modality's configuration as measured on the data.
            facts: what else is known.
            start: the model whose inputs and encoder are taken over; None: the paper's.

        Raises:
            InputError: the data are of other kinds of signal than the model reads.
        """
        has = {name: part.kind for name, part in parts_of(measured).items()}
        names = match_names(self.kinds, has)
        if names is None:
            reads, data = (" and ".join(sorted(kinds.values())) for kinds in (self.kinds, has))
            raise InputError(f"the preset reads {reads}, the data is {data}; use --preset auto")
        inputs, encoder = self.inputs, self.encoder
        if isinstance(inputs, FusionConfig):
            parts = {names[name]: part for name, part in inputs.modalities.items()}
            # The classes of a label are the data's, not the paper's.
            parts |= {name: part for name, part in parts_of(measured).items() if KINDS[part.kind].from_labels}
            inputs = replace(inputs, modalities=parts, dropout=_renamed(inputs.dropout, names))
        if start is not None:
            inputs, encoder = start.inputs, start.encoder
        recipe = self.recipe
        limits: dict[str, Any] = {"minutes": facts.minutes, "epochs": facts.epochs, "steps": facts.steps}
        if any(limit is not None for limit in limits.values()):
            recipe = replace(recipe, **limits)
        return Choice(
            inputs=inputs,
            encoder=encoder,
            decoder=self.decoder or (None if facts.per_example else DecoderConfig()),
            recipe=recipe,
            task=self._task(inputs, facts, names),
        )

    def _task(self, inputs: ModalityConfig, facts: Facts, names: Mapping[str, str]) -> TaskConfig | None:
        """The paper's task, if it is the one asked for; else ``auto``'s choice."""
        task = self.task
        if task == facts.task:
            return None
        chosen = choose_task(inputs, facts)
        if isinstance(task, MLMConfig) and isinstance(chosen, MLMConfig):
            return task
        if isinstance(task, FlowConfig) and isinstance(chosen, FlowConfig):
            return replace(task, warps=task.warps or chosen.warps)
        if isinstance(task, ReconstructConfig) and isinstance(chosen, ReconstructConfig):
            mask_ratio = task.mask_ratio
            return replace(
                task,
                mask_ratio=_renamed(mask_ratio, names) if isinstance(mask_ratio, dict) else mask_ratio,
                elementwise=tuple(names[name] for name in task.elementwise),
                num_queries=_renamed(task.num_queries, names),
                loss_weights=_renamed(task.loss_weights, names),
            )
        return chosen


def names() -> tuple[str, ...]:
    """The papers' models, by name.

    >>> "perceiver-imagenet" in names()
    True
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


@cache
def load(name: str) -> Preset:
    """The paper's model of that name.

    Raises:
        InputError: there is none; the closest name is offered.
    """
    if name not in names():
        raise InputError(f"preset {name!r}: there is none; {did_you_mean(name, (*names(), 'auto'))}")
    return from_dict(Preset, _values(name), where=name)


def _values(name: str) -> dict[str, Any]:
    """What the files of a preset say: its own and those that it extends."""
    values: dict[str, Any] = dict(read_yaml(FOLDER / f"{name}.yaml"))
    base = values.pop("extends", None)
    return values if base is None else extended(_values(base), values)


def extended(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with changes; a mapping is changed key by key, unless the change says its ``kind``.

    >>> extended({"encoder": {"num_latents": 8, "num_layers": 2}}, {"encoder": {"num_layers": 3}})
    {'encoder': {'num_latents': 8, 'num_layers': 3}}
    >>> extended({"encoder": {"num_latents": 8, "num_layers": 2}}, {"encoder": {"kind": "resnet"}})
    {'encoder': {'kind': 'resnet'}}
    """
    result = dict(values)
    for name, change in changes.items():
        merges = isinstance(change, Mapping) and isinstance(values.get(name), Mapping) and "kind" not in change
        result[name] = extended(values[name], change) if merges else change
    return result


def find(name: str) -> Auto | Preset:
    """What chooses a model for some data: ``auto``, or the paper's model of that name.

    Raises:
        InputError: as for :func:`load`.
    """
    return Auto() if name == "auto" else load(name)


def select_signals(reads: Mapping[str, str] | None, has: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the data's signals that a model reads; all of them where it is not clear which ones. Of films with
    sound they are the pictures alone, where the model reads video.

    Args:
        reads: the kind of each signal that the model reads, by its own names; None: it reads all.
        has: the kind of each signal of the data, by the data's names.

    >>> select_signals({"video": "video"}, {"film": "video", "sound": "audio"})
    ('film',)
    """
    if reads is None:
        return tuple(has)
    found = {name: kind for name, kind in has.items() if kind in reads.values()}
    return tuple(has if match_names(reads, found) is None else found)


def match_names(reads: Mapping[str, str], has: Mapping[str, str]) -> dict[str, str] | None:
    """The data's name of each signal that a model reads, matched kind by kind; None: the kinds differ. Data may lack
    a label, which then keeps the model's name.

    Args:
        reads: the kind of each signal that the model reads, by its own names.
        has: the kind of each signal of the data, by the data's names.

    >>> match_names({"image": "image", "class": "label"}, {"photo": "image"})
    {'image': 'photo', 'class': 'class'}
    """
    lacking = {name: name for name, kind in reads.items() if KINDS[kind].from_labels and kind not in has.values()}
    wanted = sorted((kind, name) for name, kind in reads.items() if name not in lacking)
    found = sorted((kind, name) for name, kind in has.items())
    if [kind for kind, _ in wanted] != [kind for kind, _ in found]:
        return None
    return {theirs: ours for (_, theirs), (_, ours) in zip(wanted, found, strict=True)} | lacking


def _renamed(values: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    return {names[name]: value for name, value in values.items()}


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


__all__ = ["Preset", "build", "find", "load", "match_names", "names", "select_signals"]
