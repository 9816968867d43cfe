"""Exported programs: they agree with the model, run without this library, and say what they take."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

import sensorium as sm
from sensorium.cli import main
from sensorium.config import from_dict, override, to_dict
from sensorium.data import collate
from sensorium.errors import InputError
from sensorium.inference import export as exports
from sensorium.inference.export import TOLERANCE, Format, export_model, open_program, read_facts
from sensorium.inference.portable import fitted, portable
from sensorium.modalities import (
    KINDS,
    AudioConfig,
    FusionConfig,
    ImageConfig,
    LabelConfig,
    PairConfig,
    PointsConfig,
    SeriesConfig,
    TableConfig,
    TextConfig,
    VideoConfig,
    VolumeConfig,
    build_modality,
)
from sensorium.modalities.made import made_examples, made_raws
from sensorium.modalities.table import Column
from sensorium.models import presets
from sensorium.models.auto import Facts, choose_inputs
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from small_models import IMAGE, ONE_LAYER, POINTS, SMALLEST_RUN, classes, signs, small_model

FORMATS = get_args(Format)
ROOT = Path(__file__).parents[2]
TABLE = TableConfig(
    columns=(Column(name="age", mean=40.0, std=9.0), Column(name="city", kind="category", categories=("Bern", "Rome"))),
    channels=8,
)


def made(model: Perceiver, count: int = 3) -> dict[str, Tensor]:
    ragged = [modality.name for modality in model.inputs.modalities if modality.ragged]
    return collate(made_examples(model.inputs, count), ragged=ragged)


def shaken(config: PerceiverConfig) -> Perceiver:
    """A model whose answers differ between examples."""
    torch.manual_seed(0)
    model = Perceiver(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape))
    return model


@pytest.mark.parametrize("format", ["pt2", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_program_agrees_for_any_number_of_examples(format: Format, tmp_path: Path) -> None:
    """Traced with three examples, it answers one and five, as the model does by its own attention path."""
    model, file = small_model(IMAGE, classes(3)), tmp_path / "model.file"
    exported = export_model(model, file, made(model), format=format)
    assert exported.difference <= TOLERANCE
    program, run = portable(model, made(model)), open_program(file, format=format)
    for count in (1, 5):
        view = model.inputs.view(made(model, count))
        torch.testing.assert_close(run(fitted(program, view))["scores"], model.predict_view(view).scores)
    assert [path.name for path in tmp_path.iterdir()] == ["model.file"]


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_a_program_says_what_it_takes(format: Format, tmp_path: Path) -> None:
    """Classes, inputs with their shapes, outputs, and the columns with their categories."""
    model = small_model(TABLE, classes(2))
    export_model(model, tmp_path / "model", made(model), format=format)
    facts = read_facts(tmp_path / "model", format=format)
    assert facts["task"] == "classify"
    assert facts["classes"] == ["class 0", "class 1"]
    assert facts["inputs"] == [{"name": "table", "dtype": "float32", "shape": ["batch", 2]}]
    assert facts["outputs"] == ["output", "scores"]
    assert facts["signals"]["table"]["columns"][1]["categories"] == ["Bern", "Rome"]


def operators(file: Path) -> set[str]:
    """The domains of the operators in an ONNX file."""
    import onnx

    model = onnx.load(str(file))
    return {node.domain for graph in (model.graph, *model.functions) for node in graph.node}


@pytest.mark.slow
def test_a_program_has_no_operator_of_ours(tmp_path: Path) -> None:
    """Even where attention in the model is structured or absorbed: the files run where this library is not."""
    model = small_model(replace(IMAGE, patch=(1, 1), bands=12), classes(2))
    export_model(model, tmp_path / "model.onnx", made(model), format="onnx")
    assert operators(tmp_path / "model.onnx") == {""}
    export_model(model, tmp_path / "model.pt2", made(model), format="pt2")
    program = torch.export.load(tmp_path / "model.pt2")
    assert not [node for node in program.graph.nodes if "sensorium" in str(node.target)]
    assert not re.search(rb"example_inputs/.*\.pt", (tmp_path / "model.pt2").read_bytes())  # which would be pickles


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_the_length_of_a_text_is_open(format: Format, tmp_path: Path) -> None:
    """From 64 bytes to the longest; shorter ones are padded, and padding changes nothing."""
    config = PerceiverConfig(inputs=TextConfig(length=200, channels=8), encoder=ONE_LAYER, task=classes(2))
    model = shaken(config)
    batch, file = made(model), tmp_path / "model"
    export_model(model, file, batch, format=format)
    (spec, mask) = read_facts(file, format=format)["inputs"]
    assert spec["shape"] == mask["shape"] == ["batch", "text length"]
    assert (spec["shortest"], spec["longest"], spec["multiple_of"]) == (64, 200, 1)
    run, program = open_program(file, format=format), portable(model, batch)
    for length in (5, 64, 101, 200):
        view = {name: tensor[:, :length] for name, tensor in model.inputs.view(batch).items()}
        inputs = fitted(program, view)
        assert inputs["text"].shape[1] == max(64, length)
        torch.testing.assert_close(run(inputs)["scores"], model.predict_view(view).scores, rtol=1e-4, atol=1e-5)


def test_a_file_that_does_not_agree_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says so; the file that was there before is as it was."""
    model, file = small_model(TABLE, classes(2)), tmp_path / "model.pt2"
    file.write_text("before")
    good = exports.open_program

    def wrong(path: Path, *, format: Format) -> Any:
        run = good(path, format=format)
        return lambda inputs: {name: tensor + 2e-4 for name, tensor in run(inputs).items()}

    monkeypatch.setattr(exports, "open_program", wrong)
    with pytest.raises(InputError, match=r"not written, because the program's answers differ .* by 2\.0e-04"):
        export_model(model, file, made(model), format="pt2")
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_changes_no_model() -> None:
    """It still trains, and computes attention as before."""
    model = small_model(POINTS, classes(2)).train()
    before = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    program = portable(model, made(model))
    assert program.model is model
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[name], parameter) for name, parameter in model.state_dict().items())


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    """One line each, before anything is computed."""
    model = small_model(TABLE, classes(2))
    sm.save(model, tmp_path)
    with pytest.raises(InputError, match=r"a\.pt2: a file of the format onnx ends in \.onnx"):
        sm.export(tmp_path, out=tmp_path / "a.pt2")
    with pytest.raises(InputError, match=r"only ONNX files are written in 8 bits"):
        sm.export(tmp_path, format="pt2", int8=True)
    with pytest.raises(InputError, match=r"is it a finished run\?"):
        sm.export(tmp_path / "nothing")


# -- of runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on series of two signs, and its data."""
    root = tmp_path_factory.mktemp("signs")
    signals, labels = signs(48)
    np.savez(root / "signs.npz", series=signals.astype(np.float32), label=labels)
    settings = (*SMALLEST_RUN, "model.inputs.stem.stages=[{channels: 8, stride: [1], kernel: [3], dilations: []}]")
    sm.train(root / "signs.npz", out=root / "run", epochs=4, settings=settings)
    return root / "run", root / "signs.npz"


@pytest.mark.slow
def test_the_command_checks_on_the_run_s_data_and_measures_8_bits(
    run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The example file then runs what was written, with numpy and onnxruntime alone."""
    folder, data = run
    main(["export", str(folder), "--data", str(data), "--int8"])
    printed = capsys.readouterr().out
    assert re.search(r"model\.onnx: agrees with the model to \d\.\de-\d+; checked on 8 examples of .*\(test\)", printed)
    assert re.search(r"model-int8\.onnx: accuracy [\d.]+ instead of [\d.]+ \(\d+ examples\)", printed)
    assert (folder / "model-int8.onnx").stat().st_size < (folder / "model.onnx").stat().st_size
    assert read_facts(folder / "model-int8.onnx", format="onnx")["classes"] == ["0", "1"]
    signals, _ = signs(4)
    np.save(folder / "signals.npy", signals)
    script = ROOT / "examples" / "onnx_numpy.py"
    arguments = [str(script), str(folder / "model.onnx"), str(folder / "signals.npy")]
    code = (
        "import runpy, sys\n"
        "sys.modules['torch'] = sys.modules['sensorium'] = None  # which makes importing them an error\n"
        f"sys.argv[:] = {arguments}\n"
        "runpy.run_path(sys.argv[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = [line.split() for line in done.stdout.splitlines()]
    for (name, score), answer in zip(shown, sm.predict(folder, signals), strict=True):
        assert name == answer.answer
        assert float(score) == pytest.approx(answer.scores[name], abs=1e-3)


def test_the_example_is_short() -> None:
    """Twenty lines of code, as the documentation says."""
    text = (ROOT / "examples" / "onnx_numpy.py").read_text("utf-8").split('"""')[2]
    assert len([line for line in text.splitlines() if line.strip() and not line.startswith("#")]) <= 20


@pytest.mark.slow
def test_without_data_the_check_is_on_noise(run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = run
    main(["export", str(folder), "--format", "pt2"])
    assert "checked on 8 made examples of noise" in capsys.readouterr().out
    assert (folder / "model.pt2").exists()


# -- of every kind of signal and every preset


SIGNALS: dict[str, Any] = {
    "image": ImageConfig(size=(24, 24)),
    "audio": AudioConfig(rate=8000, samples=16_000),
    "video": VideoConfig(size=(16, 16), frames=6),
    "pair": PairConfig(size=(16, 16)),
    "volume": VolumeConfig(size=(8, 8, 8)),
    "points": PointsConfig(points=160),
    "text": TextConfig(length=160),
    "series": SeriesConfig(channels=2, length=140, mean=(0.0, 0.0), std=(1.0, 1.0)),
    # Numbers alone, as the estimators take them; categories are in the other tests of tables.
    "table": TableConfig(columns=(TABLE.columns[0], Column(name="height", mean=1.7, std=0.1)), channels=8),
    "label": LabelConfig(classes=3),
}


def test_every_kind_of_signal_is_among_them() -> None:
    assert SIGNALS.keys() == KINDS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("kind", SIGNALS)
def test_a_trained_model_of_every_kind_agrees(kind: str, tmp_path: Path) -> None:
    """Trained for an epoch, with the stem that ``auto`` gives it; checked on examples that it was trained on."""
    raws = made_raws(build_modality(SIGNALS[kind]), 12)
    settings = (*SMALLEST_RUN, *(["inputs.stem=null"] if kind == "label" else []))
    model = sm.SensoriumClassifier(kind=kind, epochs=1, settings=settings).fit(raws, ["no", "yes"] * 6).model_
    samples = [model.inputs.load(raw) for raw in raws[:4]]
    batch = collate(samples, ragged=[kind] if model.inputs.ragged else [])
    for format in FORMATS:
        assert export_model(model, tmp_path / "model", batch, format=format).difference <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_several_signals_agree_with_any_of_them_absent(format: Format, tmp_path: Path) -> None:
    facts = Facts(task="classify", examples=100)
    measured = FusionConfig(modalities={"photo": SIGNALS["image"], "sensor": SIGNALS["series"]})
    inputs = choose_inputs(measured, facts)
    model = shaken(PerceiverConfig(inputs=inputs, encoder=ONE_LAYER, task=classes(3)))
    batch = made(model)
    assert export_model(model, tmp_path / "model", batch, format=format).difference <= TOLERANCE
    run, program = open_program(tmp_path / "model", format=format), portable(model, batch)
    for absent in ("photo", "sensor"):
        view = model.inputs.view({**batch, f"{absent}.present": torch.tensor([True, False, True])})
        expected = model.predict_view(view).scores
        torch.testing.assert_close(run(fitted(program, view))["scores"], expected, rtol=1e-4, atol=1e-5)
    view = {name: tensor for name, tensor in model.inputs.view(batch).items() if not name.startswith("photo")}
    expected = model.predict_view(view).scores
    torch.testing.assert_close(run(fitted(program, view))["scores"], expected, rtol=1e-4, atol=1e-5)


GRID = (20, 20)  # of points, for networks that read a grid
SMALL_SIZES = {
    "image": ["size=[32, 32]"],
    "video": ["size=[16, 16]", "frames=4"],
    "audio": ["samples=4096"],
    "pair": ["size=[16, 24]"],
    "points": ["points=96"],
    "text": ["length=96"],
    "label": [],
}


def small_encoder(config: Any, grid: tuple[int, int]) -> dict[str, Any]:
    """Few and narrow layers of the kinds that an encoder has; of a network that reads a grid, for a small one."""
    if config.kind == "perceiver":
        heads = max(config.num_self_attention_heads // 4, 1)
        return {"num_latents": 8, "latent_channels": 64, "num_layers": 1, "num_self_attention_heads": heads}
    if config.kind == "resnet":
        return {"width": 4, "blocks": [1, 1, 1, 1]}
    blocks = {"channels": 16, "num_layers": 1, "num_heads": 2}
    if config.kind == "vit":
        sides = [-(-side // patch) for side, patch in zip(grid, config.patch, strict=True)]
        blocks["learned_positions"] = prod(sides) if config.learned_positions else 0
    return blocks


def small_preset(name: str) -> Perceiver:
    """A paper's model with its own kinds of layers, and few and narrow ones of them."""
    preset = presets.load(name)
    with torch.device("meta"):
        config = preset.model()
    on_grid = getattr(config.inputs, "grid", None) is not None and config.inputs.kind == "points"
    small = small_encoder(config.encoder, GRID if on_grid else (32, 32))
    settings = [f"encoder.{field}={value}" for field, value in small.items()]
    signals = getattr(config.inputs, "modalities", None) or {None: config.inputs}
    for signal, part in signals.items():
        where = "inputs" if signal is None else f"inputs.modalities.{signal}"
        settings += [f"{where}.{setting}" for setting in SMALL_SIZES[part.kind]]
    if on_grid:
        settings.append(f"inputs.grid={list(GRID)}")
    values = override(to_dict(config), settings)
    return shaken(from_dict(PerceiverConfig, values, where=name))


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", presets.names())
def test_every_preset_agrees(name: str, format: Format, tmp_path: Path) -> None:
    model = small_preset(name)
    assert export_model(model, tmp_path / "model", made(model, 2), format=format).difference <= TOLERANCE
