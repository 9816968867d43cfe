"""A run as a program for other software: which examples it is checked on, and what 8 bits cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from torch import Tensor

from ..data import EVERYTHING, Samples, collate, load_samples, open_for
from ..errors import InputError
from ..inference.evaluate import examples_at_a_time
from ..inference.export import Exported, Format, evaluate_program, export_model, open_program, quantise
from ..modalities.made import made_examples
from ..models import checkpoints
from ..models.perceiver import Perceiver
from ..models.recipe import RecipeConfig
from .plan import RunConfig, read_run_config
from .progress import Listener, Quiet
from .run_data import known_of, own_data, scored_split, split_of
from .run_folder import CONFIG, read_examples, read_report

CHECKED = 8  # examples that a program is checked on


@dataclass(frozen=True)
class QuantisedExport:
    """A program with weights of 8 bits.

    Attributes:
        file: where it is.
        metric: the name of the task's primary metric.
        before, after: the metric of the program in float32, and in 8 bits; None: there are no labelled examples.
        samples: how many examples were scored.
    """

    file: Path
    metric: str
    before: float | None = None
    after: float | None = None
    samples: int = 0


@dataclass(frozen=True)
class RunExport:
    """What ``sensorium export`` wrote.

    Attributes:
        program: the file, and how well it agrees with the model.
        checked_on: the examples that it was checked on, in words.
        quantised: the same in 8 bits; None: it was not asked for.
    """

    program: Exported
    checked_on: str
    quantised: QuantisedExport | None = None


def export(
    run: str | Path,
    *,
    out: str | Path | None = None,
    format: Format = "onnx",
    data: str | Path | None = None,
    int8: bool = False,
    listener: Listener | None = None,
) -> RunExport:
    """Write a trained model as a program that runs without this library, once it agrees with the model on examples.

    Args:
        run: a run or weights folder.
        out: the file; ``model.onnx`` or ``model.pt2`` in the run by default. With ``int8``, the program in 8 bits is
            beside it, as ``model-int8.onnx``.
        format: ``onnx``, or ``pt2``, which ``torch.export.load`` reads.
        data: what the run was trained on, or other data of its kind: the program is checked on examples of it. None:
            on examples of noise.
        int8: whether to write it with weights of 8 bits, too. What that costs is measured on the run's test split, if
            there is ``data``.
        listener: receives the progress.

    Raises:
        InputError: no model or data, another ending of ``out`` than the format's, ``int8`` of another format than
            ``onnx``, a missing extra, or a program that does not agree with the model.
    """
    listener, folder = listener or Quiet(), Path(run)
    file = Path(out) if out is not None else folder / f"model.{format}"
    if file.suffix != f".{format}":
        raise InputError(f"{file}: a file of the format {format} ends in .{format}; name it so, or say --format")
    if int8 and format != "onnx":
        raise InputError("--int8: only ONNX files are written in 8 bits; leave it out, or use --format onnx")
    model = checkpoints.load(folder)
    listener.stage("opening the examples")
    samples, split = (None, "") if data is None else _samples(folder, Path(data), model)
    batch = _made(model) if samples is None else _real(model, samples)
    listener.stage("exporting")
    program = export_model(model, file, batch, format=format)
    checked_on = (
        f"{program.examples} made examples of noise"
        if samples is None
        else f"{program.examples} examples of {data}" + (f" ({split})" if split != EVERYTHING else "")
    )
    quantised = _quantised(model, file, samples, batch, listener) if int8 else None
    return RunExport(program, checked_on, quantised)


def _samples(folder: Path, data: Path, model: Perceiver) -> tuple[Samples, str]:
    """The examples that a run is scored on, with the name of their split; of other data the test split, or all."""
    imported = not (folder / CONFIG).exists()
    config = RunConfig(model=model.config, recipe=RecipeConfig()) if imported else read_run_config(folder)
    own = None if imported else own_data(data, model, config, read_examples(folder), read_report(folder), None)
    if own is None:
        source = open_for(known_of(data, model, config, dataset=None, imported=imported), data)
        split = "test" if "test" in source.splits else EVERYTHING
    else:
        source, split = own, scored_split(own)
    examples = split_of(source, split).for_modality(model.inputs)
    return load_samples(examples, [model.inputs]), split


def _real(model: Perceiver, samples: Samples) -> dict[str, Tensor]:
    """Some examples, the first ones that have every signal.

    Raises:
        InputError: there is none.
    """
    names = [modality.name for modality in model.inputs.modalities]
    wanted = min(CHECKED, examples_at_a_time(model))
    found = (index for index in range(len(samples)) if _is_whole(samples.batch([index]), names))
    whole = list(islice(found, wanted))
    if not whole:
        raise InputError(f"no example has all of {', '.join(names)}; give data with one that has, or no data")
    return samples.batch(whole)


def _is_whole(example: Mapping[str, Tensor], names: Sequence[str]) -> bool:
    """Whether a batch of one example has these signals."""
    return all(name in example and bool(example.get(f"{name}.present", True)) for name in names)


def _made(model: Perceiver) -> dict[str, Tensor]:
    """Examples of noise."""
    ragged = [modality.name for modality in model.inputs.modalities if modality.ragged]
    count = max(2, min(CHECKED, examples_at_a_time(model)))
    return collate(made_examples(model.inputs, count), ragged=ragged)


def _quantised(
    model: Perceiver, file: Path, samples: Samples | None, batch: dict[str, Tensor], listener: Listener
) -> QuantisedExport:
    """Write a program in 8 bits beside it, and measure what that costs."""
    listener.stage("quantising")
    target = file.with_name(f"{file.stem}-int8.onnx")
    quantise(file, target)
    metric = model.task.primary_metric
    if samples is None or samples.targets is None or not model.task.per_example:
        return QuantisedExport(target, metric)
    listener.stage("measuring what 8 bits cost")
    before, after = (
        evaluate_program(model, open_program(path, format="onnx"), samples, batch=batch) for path in (file, target)
    )
    return QuantisedExport(target, metric, before, after, len(samples))
