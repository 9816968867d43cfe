"""A trained model as a file that runs without this library: ONNX, or a program of ``torch.export``.

A file is kept only if what it computes agrees with the model on examples. This is the one file that imports ONNX's
libraries.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import nan
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ..data import Samples
from ..errors import InputError, silenced
from ..files import replace_file
from ..modalities import Batch
from ..modalities.sequences import FIELDS, lengths
from ..models.perceiver import Perceiver, evaluating
from ..nn import attention_path
from ..tasks import Prediction
from .evaluate import evaluate_model
from .portable import BATCH, Portable, facts, fitted, portable

Format: TypeAlias = Literal["onnx", "pt2"]
Program: TypeAlias = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]  # inputs by name to outputs by name

TOLERANCE = 1e-4  # the largest difference of an output from the model's, where values are above 1 relative to them
METADATA = "sensorium"  # the key of the facts in an ONNX file
METADATA_FILE = "sensorium.json"  # the name of the facts in a .pt2 file
QUANTISED = ("MatMul", "Gemm")  # operators whose weights become 8 bits
LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir", "root")  # of remarks that no user can act on


@dataclass(frozen=True)
class Exported:
    """A file that was written and checked.

    Attributes:
        file: where it is.
        examples: how many it was checked on.
        difference: the largest difference of its outputs from the model's; relative to values above 1.
    """

    file: Path
    examples: int
    difference: float


def export_model(model: Perceiver, file: Path, batch: Batch, *, format: Format = "onnx") -> Exported:
    """Write a model as a program, once the program agrees with the model on some examples.

    Args:
        model: the model; it is not changed.
        file: where to write; it is written whole or not at all.
        batch: examples as ``Modality.load`` gives them, with every signal of the model: the program is traced with
            them, and checked on all of them together and each alone.
        format: ``onnx``, or ``pt2``, which ``torch.export.load`` reads.

    Raises:
        InputError: the program does not agree with the model, the extra ``onnx`` is not installed, or the file cannot
            be written.
    """
    if format == "onnx":
        _check_installed()
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    batch = {name: tensor.cpu() for name, tensor in batch.items()}
    program = portable(model, batch)
    views = list(_checked_views(model, batch))
    known = {"sensorium": version("sensorium"), "format": format}
    difference = nan

    def write(temporary: Path) -> None:
        nonlocal difference
        with silenced(LOGGERS):
            traced = _traced(program, views[0])
            _WRITERS[format](traced, program, {**known, **facts(program)}, temporary)
        difference = _largest_difference(open_program(temporary, format=format), program, views)
        if not difference <= TOLERANCE:
            raise InputError(
                f"{file}: not written, because the program's answers differ from the model's by {difference:.1e} "
                f"(more than {TOLERANCE:g}); please report this"
            )

    replace_file(file, write)
    return Exported(file, len(next(iter(batch.values()))), difference)


def open_program(file: Path, *, format: Format) -> Program:
    """A written program as a function of its inputs by name.

    Args:
        file: as :func:`export_model` writes it, whatever its name is.
        format: of the file.
    """
    return _open_onnx(file) if format == "onnx" else _open_pt2(file)


def read_facts(file: Path, *, format: Format) -> dict[str, Any]:
    """What a written program says of its inputs, outputs and classes."""
    if format == "onnx":
        return json.loads(_session(file).get_modelmeta().custom_metadata_map[METADATA])
    extra = {METADATA_FILE: ""}
    torch.export.load(io.BytesIO(file.read_bytes()), extra_files=extra)
    return json.loads(extra[METADATA_FILE])


def quantise(file: Path, target: Path) -> None:
    """Write an ONNX file again with weights of 8 bits: dynamic quantisation, whose scales of activations are taken
    from each input as it comes.

    Args:
        file: an ONNX file.
        target: where to write.

    Raises:
        InputError: the extra ``onnx`` is not installed, or the file cannot be written.
    """
    _check_installed()
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    def write(temporary: Path) -> None:
        program = onnx.load(str(file))
        known = list(program.metadata_props)
        del program.graph.value_info[:]  # shapes of the exporter's, which the quantiser infers otherwise
        with silenced(LOGGERS):
            quantize_dynamic(program, str(temporary), op_types_to_quantize=list(QUANTISED), per_channel=True)
        quantised = onnx.load(str(temporary))
        del quantised.metadata_props[:]
        quantised.metadata_props.extend(known)
        onnx.save(quantised, str(temporary))

    replace_file(target, write)


def evaluate_program(model: Perceiver, program: Program, samples: Samples, *, batch: Batch) -> float:
    """The primary metric of a program on labelled examples.

    Args:
        model: the one that was exported; of a task with one row of scores an example.
        program: as :func:`open_program` gives it.
        samples: the examples.
        batch: some of them, with every signal of the model.
    """
    evaluation = evaluate_model(_Replayed(model, portable(model, batch), program), samples)
    return evaluation.metrics[model.task.primary_metric]


class _Replayed(Perceiver):
    """A model whose answers another program computes."""

    def __init__(self, model: Perceiver, signature: Portable, program: Program) -> None:
        nn.Module.__init__(self)
        self.config, self.inputs, self.task = model.config, model.inputs, model.task
        self.encoder, self.decoder = model.encoder, model.decoder  # not used, but for the device they are on
        self._signature, self._program = (signature,), program  # a tuple, which nn.Module does not register

    def forward(self, batch: Batch, indices: Tensor | None = None) -> Prediction:
        results = self._program(fitted(self._signature[0], batch))
        return Prediction(results["output"], results["scores"])


def _traced(program: Portable, view: Batch) -> torch.export.ExportedProgram:
    """The program for any number of examples, and any length where a signal's length is open."""
    example, batch = fitted(program, view), torch.export.Dim(BATCH, min=1)
    dims: dict[str, Any] = {}
    shapes: list[dict[int, Any]] = []
    for spec in program.inputs:
        shape = {0: batch}
        if spec.lengths is not None and len(spec.lengths) > 1:
            step, name = spec.lengths.step, str(spec.shape[1])
            if name not in dims:
                rows = torch.export.Dim(f"length{len(dims)}", min=spec.lengths[0] // step, max=spec.lengths[-1] // step)
                dims[name] = rows if step == 1 else step * rows
            shape[1] = dims[name]
        shapes.append(shape)
    longest = [_longest(example[spec.name], spec.lengths) for spec in program.inputs]
    with attention_path(program.model, "portable"):
        return torch.export.export(program, tuple(longest), dynamic_shapes={"tensors": tuple(shapes)})


def _longest(tensor: Tensor, lengths: range | None) -> Tensor:
    """An example input of two examples at least, and of the largest length."""
    tensor = tensor if len(tensor) > 1 else torch.cat([tensor, tensor])
    if lengths is None:
        return tensor
    padding = tensor.new_zeros(len(tensor), lengths[-1] - tensor.shape[1], *tensor.shape[2:])
    return torch.cat([tensor, padding], dim=1)


def _write_onnx(traced: torch.export.ExportedProgram, program: Portable, known: Mapping[str, Any], file: Path) -> None:
    converted: Any = torch.onnx.export(
        traced,
        input_names=[spec.name for spec in program.inputs],
        output_names=list(program.outputs),
        dynamo=True,
        verbose=False,
    )
    converted.model.metadata_props[METADATA] = json.dumps(known, ensure_ascii=False)
    converted.save(str(file))


def _write_pt2(traced: torch.export.ExportedProgram, program: Portable, known: Mapping[str, Any], file: Path) -> None:
    traced._example_inputs = None  # they would be stored as a pickle
    content = io.BytesIO()
    torch.export.save(traced, content, extra_files={METADATA_FILE: json.dumps(known, ensure_ascii=False)})
    file.write_bytes(content.getvalue())


_WRITERS = {"onnx": _write_onnx, "pt2": _write_pt2}


def _open_onnx(file: Path) -> Program:
    session = _session(file)
    outputs = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        results = session.run(outputs, {name: tensor.numpy() for name, tensor in inputs.items()})
        return {name: torch.from_numpy(result) for name, result in zip(outputs, results, strict=True)}

    return run


def _open_pt2(file: Path) -> Program:
    extra = {METADATA_FILE: ""}
    module = torch.export.load(io.BytesIO(file.read_bytes()), extra_files=extra).module()
    known = json.loads(extra[METADATA_FILE])
    inputs, outputs = [spec["name"] for spec in known["inputs"]], known["outputs"]

    def run(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            return dict(zip(outputs, module(*(batch[name] for name in inputs)), strict=True))

    return run


def _session(file: Path) -> Any:
    _check_installed()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _check_installed() -> None:
    """Raises an InputError unless all of ONNX's libraries are installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise InputError(f"ONNX needs {error.name}: pip install 'sensorium[onnx]'") from None


def _checked_views(model: Perceiver, batch: Batch) -> Iterator[dict[str, Tensor]]:
    """What the model reads of the examples together, and of each alone, without padding."""
    count = len(next(iter(batch.values())))
    parts = [slice(None), *(slice(index, index + 1) for index in range(count if count > 1 else 0))]
    for part in parts:
        chosen = {name: tensor[part] for name, tensor in batch.items()}
        view = model.prepare(next(iter(model.inputs.views(chosen)))).inputs
        yield view if part == slice(None) else _trimmed(model, view)


def _trimmed(model: Perceiver, view: Batch) -> dict[str, Tensor]:
    """The view of one example without what is padded behind the end of its signals."""
    trimmed = dict(view)
    for modality in model.inputs.modalities:
        if modality.ragged and modality.name in view and f"{modality.name}.hidden" not in view:
            length = int(lengths(view, modality.name))
            fields = [modality.name + field for field in FIELDS if modality.name + field in view]
            trimmed |= {field: view[field][:, :length] for field in fields}
    return trimmed


def _largest_difference(run: Program, program: Portable, views: Sequence[Batch]) -> float:
    """Of the outputs of a program from the model's, over some views."""
    largest = 0.0
    for view in views:
        inputs = fitted(program, view)
        with evaluating(program.model):
            # A signal that is predicted is as long as the input, so there padding counts.
            expected = program.model(view if program.model.task.per_example else inputs)
            expected = program.named(expected)
        results = run(inputs)
        for name, tensor in expected.items():
            exact, other = tensor.double().nan_to_num(), results[name].double().nan_to_num()
            scale = exact.abs().max().clamp(min=1) if exact.numel() else torch.ones(())
            largest = max(largest, float((other - exact).abs().max() / scale))
    return largest
