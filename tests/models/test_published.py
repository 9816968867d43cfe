"""Published checkpoints become models of ours: every weight has one name, and the same answers come out."""

from __future__ import annotations

import builtins
import io
import json
import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import sensorium as sm
from builders import film
from sensorium.cli import main
from sensorium.codecs.flow import decode as decode_flow
from sensorium.codecs.flow import encode_file as encode_flow
from sensorium.config import from_dict, override, to_dict
from sensorium.modalities import build_modality
from sensorium.models import presets
from sensorium.models.checkpoints import start_from
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.models.published import CHECKPOINTS, import_published
from sensorium.models.published.names import AXES
from sensorium.models.published.pickles import ALLOWED
from sensorium.models.tensor_files import read_tensors

transformers = pytest.importorskip("transformers")

IMAGES = ("learned", "fourier", "conv")

# -- what transformers is told of each, small; the published sizes are in benchmarks/published.py

IMAGE = {"num_blocks": 2, "num_cross_attention_heads": 1, "image_size": 16, "num_labels": 5}
SMALL: dict[str, dict[str, Any]] = {
    "learned": {**IMAGE, "d_model": 512},
    "fourier": {**IMAGE, "d_model": 261},
    "conv": {**IMAGE, "d_model": 322},
    "bytes": {
        "d_model": 16,
        "num_cross_attention_heads": 4,
        "qk_channels": 16,
        "v_channels": 32,
        "max_position_embeddings": 12,
    },
    "kinetics": {
        "d_model": 405,  # a row of sound and its code, and the least modality_embedding
        "num_cross_attention_heads": 1,
        "num_labels": 5,
        "num_frames": 2,
        "image_size": 4,
        "audio_samples_per_frame": 32,
        "output_shape": [1, 2, 16, 16],
    },
    "flow": {"d_model": 322, "num_cross_attention_heads": 1, "train_size": [10, 14]},
}


# -- their models, small


def their_config(name: str, **changes: Any) -> Any:
    shape: dict[str, Any] = {
        "num_latents": 6,
        "d_latents": 32,
        "num_blocks": 1,
        "num_self_attends_per_block": 2,
        "num_self_attention_heads": 4,
    }
    return transformers.PerceiverConfig(**(shape | SMALL[name] | changes))


def random(module: nn.Module) -> nn.Module:
    """Random weights, and no norm or statistic at a special value."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                width = tensor.shape[-1] if tensor.ndim else 1
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / width**0.5)
            else:
                tensor.fill_(7)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return module.eval()


def theirs(name: str, **changes: Any) -> Any:
    architecture = getattr(transformers, CHECKPOINTS[name].architecture)
    return random(architecture(their_config(name, **changes)))


Answers = dict[str, Tensor]  # by signal


def off(found: Answers, expected: Answers) -> float:
    """The largest difference, relative to the largest number of its signal."""
    assert found.keys() == expected.keys()
    return max(float((found[name] - one).abs().max() / one.abs().max()) for name, one in expected.items())


MEAN, STD = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
PIXELS, SOUNDS = torch.tensor([0, 17, 300, 511]), torch.tensor([1, 3])  # some of 2 × 16 × 16, some of 4


@torch.no_grad()
def answers(name: str, model: Any, batch: Mapping[str, Tensor]) -> Answers:
    """Logits of either side; of bytes those at present places, of films those at some places and of the class, of which
    nothing is told: theirs does not run without a choice of places."""
    ours = isinstance(model, Perceiver)
    if name == "bytes":
        mask = batch["text.mask"]
        if ours:
            return {"text": model(batch).output[mask]}
        return {"text": model(inputs=batch["text"], attention_mask=mask.long()).logits[mask]}
    if name == "kinetics":
        if ours:
            found = model(batch, torch.cat([SOUNDS, 4 + PIXELS, torch.tensor([4 + 512])])).output
            return {"audio": found["audio"].flatten(1), "image": found["video"], "label": found["label"][:, 0]}
        inputs = {"image": batch["video"], "audio": batch["audio"], "label": torch.zeros(2, 5)}
        places = {"image": PIXELS, "audio": SOUNDS, "label": None}
        return dict(model(inputs=inputs, subsampled_output_points=places).logits)
    if name == "flow":
        if ours:
            return {"flow": model(batch).flow}
        # They take the 27 numbers around a pixel of each frame, colours last, and leave out the factor of 20.
        frames = batch["pair"]
        windows = nn.functional.unfold((2 * frames - 1).flatten(0, 1), 3, padding=1).view(2, 2, 3, 9, 10, 14)
        return {"flow": 20 * model(inputs=windows.transpose(2, 3).flatten(2, 3)).logits.permute(0, 3, 1, 2)}
    if ours:
        return {"image": model(batch).output}
    return {"image": model(inputs=(batch["image"] - MEAN) / STD).logits}


def batch_for(name: str) -> dict[str, Tensor]:
    if name == "kinetics":
        return {"video": torch.rand(2, 2, 3, 16, 16), "audio": torch.rand(2, 64, 1) * 2 - 1}
    if name == "flow":
        return {"pair": torch.rand(2, 2, 3, 10, 14)}
    if name != "bytes":
        size = 32 if name == "conv" else 16
        return {"image": torch.rand(2, 3, size, size)}
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[1, 7:] = False
    return {"text": torch.randint(6, 262, (2, 12)), "text.mask": mask}


# -- the authors' pickles, small


class FlatMapping(dict[str, Any]):
    """As haiku pickles its mappings: a call of its class with a dict."""

    def __reduce__(self) -> Any:
        return FlatMapping, (dict(self),)


FlatMapping.__module__ = "haiku._src.data_structures"
FlatMapping.__qualname__ = "FlatMapping"


def _reconstruct_array(*_: Any) -> None: ...


_reconstruct_array.__module__ = "jax._src.array"


class JaxArray:
    """As jax pickles its arrays: numpy's reduction, and what jax adds to it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __reduce__(self) -> Any:
        make, arguments, state = self.array.__reduce__()  # type: ignore[misc]
        return _reconstruct_array, (make, arguments, state, {"weak_type": False})


@pytest.fixture
def haiku(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickling looks classes up by their names: stand-ins for the two libraries, which are not installed."""
    for module, thing in (("haiku._src.data_structures", FlatMapping), ("jax._src.array", _reconstruct_array)):
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            path = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, path, ModuleType(path))
        monkeypatch.setattr(sys.modules[module], thing.__name__, thing, raising=False)


def ours_small(name: str) -> Perceiver:
    """A small model of the preset, with random weights."""
    sizes = ["num_latents=6", "latent_channels=16", "num_layers=2"]
    lines = [f"encoder.{size}" for size in sizes]
    if name == "bytes":
        lines += ["inputs.length=12", "inputs.channels=16", "encoder.qk_channels=16", "encoder.value_channels=32"]
        lines += ["decoder.qk_channels=16", "decoder.value_channels=8"]
    if name == "kinetics":  # but for the sizes of films and sound, which only transformers tells
        lines += [
            "inputs.modalities.label.classes=3",
            "inputs.modality_channels=5",
            "decoder.query_channels=400",
            "task.modality_channels=3",
        ]
        lines += ["task.output_channels=8", "decoder.qk_channels=16", "decoder.value_channels=24"]
    if name == "flow":
        lines += ["inputs.channels=8", "decoder.qk_channels=16", "decoder.value_channels=24"]
    if name in IMAGES:
        lines += ["decoder.query_channels=16", "task.classes=[a, b, c]"]
    if name == "learned":
        lines += ["inputs.size=[16, 16]", "inputs.stem.channels=8"]
    if name == "conv":
        lines += ["inputs.stem.channels=8"]
    values = to_dict(presets.load(CHECKPOINTS[name].preset).model())
    model = Perceiver(from_dict(PerceiverConfig, override(values, lines)))
    random(model)
    return model


def authors_content(name: str, model: Perceiver, *, array: Callable[[np.ndarray], Any] = np.asarray) -> Any:
    """A model's weights as the authors pickle them: the table, backwards."""
    weights, params, state = model.state_dict(), FlatMapping(), FlatMapping()
    for row in CHECKPOINTS[name].table(2):
        values, axes = weights[row.ours].numpy(), AXES[row.axes]
        if axes is None:
            shape = (1, -1) if row.jax.endswith("pos_embs") else (1, 1, 1, -1)
            values = values.reshape(shape) if values.ndim else values.astype(np.int32)
        elif axes:
            values = values.transpose(np.argsort(axes))
        scope, leaf = row.jax.rsplit("/", 1)
        kept = state if leaf in ("average", "counter") else params
        kept.setdefault(scope, {})[leaf] = array(values)
    for unused in CHECKPOINTS[name].unused:
        scope, leaf = unused.rsplit("/", 1)
        state.setdefault(scope, {})[leaf] = array(np.zeros((), np.float32))
    return {"params": params, "state": state} if name in IMAGES else params


def dump(path: Path, content: Any, **options: Any) -> Path:
    path.write_bytes(pickle.dumps(content, **options))
    return path


# -- laws of the tables


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_table_is_a_bijection(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the published sizes: each name once, all of our saved tensors, all of transformers'; the known count."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from published import MODELS

    checkpoint = CHECKPOINTS[name]
    shapes, parameters = MODELS[name]
    with torch.device("meta"):
        ours = Perceiver(presets.load(checkpoint.preset).model())
        other = getattr(transformers, checkpoint.architecture)(transformers.PerceiverConfig(**shapes))
    layers = ours.config.encoder.num_layers
    table = checkpoint.table(layers)
    assert ours.parameter_count() == parameters
    for side, wanted in (("ours", ours.state_dict()), ("hf", other.state_dict())):
        names = [getattr(row, side) for row in table]
        assert len(names) == len(set(names))
        assert set(names) == set(wanted)
    assert len({row.jax for row in table} | set(checkpoint.unused)) == len(table) + len(checkpoint.unused)
    for row in table:
        assert ours.state_dict()[row.ours].numel() == other.state_dict()[row.hf].numel(), row
    assert checkpoint.layers([row.hf for row in table], "hf") == layers
    assert checkpoint.layers([row.jax for row in table], "jax") == layers


# -- parity


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_imported_from_transformers_they_answer_the_same(name: str, tmp_path: Path) -> None:
    """Within 1e-5 of the largest logit, every choice being in the configuration; of the older file the same."""
    other = theirs(name)
    other.save_pretrained(tmp_path / "theirs")
    result = import_published(tmp_path / "theirs", out=tmp_path / "ours")
    assert (result.checkpoint, result.origin, result.compat) == (name, "hf", "hf")
    model, batch = sm.load(tmp_path / "ours"), batch_for(name)
    assert result.parameters == model.parameter_count() == sum(one.numel() for one in other.parameters())
    assert off(answers(name, model, batch), answers(name, other, batch)) < 1e-5
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {"model.safetensors", "config.json"}
    (tmp_path / "theirs" / "model.safetensors").unlink()
    torch.save(other.state_dict(), tmp_path / "theirs" / "pytorch_model.bin")
    import_published(tmp_path / "theirs", out=tmp_path / "older")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "older" / file).read_bytes() == (tmp_path / "ours" / file).read_bytes()


def test_a_bin_file_without_a_configuration(tmp_path: Path) -> None:
    """The names tell which model it is, the preset how many heads and blocks."""
    changes = {"num_blocks": 8, "num_self_attention_heads": 8}
    other = theirs("learned", **changes)
    torch.save(other.state_dict(), tmp_path / "pytorch_model.bin")
    result = import_published(tmp_path / "pytorch_model.bin", out=tmp_path / "ours")
    assert result.checkpoint == "learned"
    batch = batch_for("learned")
    assert off(answers("learned", sm.load(tmp_path / "ours"), batch), answers("learned", other, batch)) < 1e-5


@pytest.mark.usefixtures("haiku")
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_authors_pickles_give_the_same_model(name: str, tmp_path: Path) -> None:
    """Built by the table backwards, with haiku's mappings, as numpy's and as jax's arrays: the same answers."""
    model = ours_small(name)
    batch = batch_for(name)
    for array, protocol in ((np.asarray, 4), (np.asarray, 5), (JaxArray, 4)):
        content = authors_content(name, model, array=array)
        path = dump(tmp_path / "checkpoint.pystate", content, protocol=protocol)
        out = tmp_path / f"{array.__name__}{protocol}"
        result = import_published(path, out=out)
        assert (result.checkpoint, result.origin, result.compat) == (name, "jax", "jax")
        found = sm.load(out)
        for key, tensor in model.state_dict().items():
            assert found.state_dict()[key].equal(tensor), key
        assert off(answers(name, found, batch), answers(name, model, batch)) == 0


@pytest.mark.usefixtures("haiku")
def test_each_source_may_be_given_the_other_s_arithmetic(tmp_path: Path) -> None:
    """The four differences; a pickle imported for transformers is what the script that brought them there made."""
    model = ours_small("conv")
    path = dump(tmp_path / "conv.pystate", authors_content("conv", model))
    import_published(path, out=tmp_path / "hf", compat="hf")
    import_published(path, out=tmp_path / "jax", compat="jax")
    hf, jax = sm.load(tmp_path / "hf"), sm.load(tmp_path / "jax")
    assert (hf.config.encoder.gelu, jax.config.encoder.gelu) == ("erf", "tanh")
    assert (hf.config.decoder.gelu, jax.config.decoder.gelu) == ("erf", "tanh")
    assert (hf.config.inputs.stem.geometry, jax.config.inputs.stem.geometry) == ("symmetric", "same")
    kernel = pickle.loads(path.read_bytes())["params"]["image_preprocessor/~/conv2_d_downsample/~/conv"]["w"]
    assert torch.equal(hf.inputs.stem.convolution.weight, torch.tensor(np.transpose(kernel)))
    assert torch.equal(jax.inputs.stem.convolution.weight, torch.tensor(kernel.transpose(3, 2, 0, 1)))

    theirs("conv").save_pretrained(tmp_path / "theirs")
    for compat in ("hf", "jax"):
        import_published(tmp_path / "theirs", out=tmp_path / f"theirs {compat}", compat=compat)
    kernels = [sm.load(tmp_path / f"theirs {compat}").inputs.stem.convolution.weight for compat in ("hf", "jax")]
    assert torch.equal(kernels[0], kernels[1].mT)

    theirs("learned").save_pretrained(tmp_path / "learned")
    for compat, residual in (("hf", True), ("jax", False)):
        import_published(tmp_path / "learned", out=tmp_path / f"learned {compat}", compat=compat)
        assert sm.load(tmp_path / f"learned {compat}").config.decoder.query_residual is residual


# -- use


def test_an_imported_model_predicts_explains_and_is_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command line, with the names of ``config.json``; folders may call the classes otherwise, as ImageNet's."""
    names = {0: "tench", 1: "crane", 2: "crane", 3: "ox", 4: "hen"}
    theirs("learned", id2label=names, label2id={}).save_pretrained(tmp_path / "theirs")
    run = tmp_path / "run"
    main(["import", str(tmp_path / "theirs"), "--out", str(run)])
    told = capsys.readouterr().out
    assert told.startswith("learned: ")
    assert "note:" not in told
    files = []
    for number in range(10):
        file = tmp_path / "data" / "test" / f"n0{number % 5}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, 255, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(values).save(file)
        files.append(str(file))
    main(["predict", str(run), *files, "--json", "--top", "5"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert set(rows[0]["scores"]) == {"tench", "crane (1)", "crane (2)", "ox", "hen"}
    main(["explain", str(run), files[0]])
    assert (run / "explained" / "explanation.html").exists()
    for split in ("train", "val"):
        (tmp_path / "data" / split).symlink_to(tmp_path / "data" / "test")
    main(["evaluate", str(run), str(tmp_path / "data")])
    folder = run / "evaluations" / "data-test"
    report = json.loads((folder / "report.json").read_text())
    assert report["samples"] == 10
    assert 0 <= report["metrics"]["accuracy"] <= 1
    assert "taken in order" in (folder / "report.html").read_text("utf-8")
    planned = sm.plan(tmp_path / "data", start=run).config.model  # to go on from it
    assert (planned.inputs, planned.encoder) == (sm.load(run).config.inputs, sm.load(run).config.encoder)
    start_from(Perceiver(planned), run)


@pytest.mark.slow
def test_films_of_an_imported_autoencoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written and told what they show, explained, scored; and training goes on from it on films of two classes."""
    theirs("kinetics", id2label=dict(enumerate("abcde")), label2id={}).save_pretrained(tmp_path / "theirs")
    run, data = tmp_path / "run", tmp_path / "data"
    main(["import", str(tmp_path / "theirs"), "--out", str(run)])
    assert capsys.readouterr().out.startswith("kinetics: ")
    files = [film(data / "ab"[number % 2] / f"{number}.mkv", sound=True, seed=number) for number in range(8)]
    main(["predict", str(run), str(files[0]), "--json"])
    (row,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert set(row["label"]) < set("abcde")
    assert {Path(path).suffix for path in row["answer"]} == {".mp4", ".wav"}
    main(["explain", str(run), str(files[0])])
    maps = np.load(run / "explained" / "maps.npz")
    assert {"0/cross_attend1/video", "0/cross_attend1/audio"} <= set(maps)
    for described, known in (("", False), ("inputs: {label: {kind: label}}", True)):
        (data / "dataset.yaml").write_text(described)
        main(["evaluate", str(run), str(data)])
        metrics = json.loads((run / "evaluations" / "data-all" / "report.json").read_text())["metrics"]
        assert np.isfinite(metrics["video_psnr"])
        assert (metrics["label_accuracy"] is not None) == known
    (data / "dataset.yaml").unlink()
    planned = sm.plan(data, start=run).config
    assert planned.start == str(run)
    start_from(Perceiver(planned.model), run)


def test_frames_of_an_imported_model_of_motion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written as a field of motion of the whole frames, scored, and gone on from."""
    theirs("flow").save_pretrained(tmp_path / "theirs")
    run, data = tmp_path / "run", tmp_path / "data"
    main(["import", str(tmp_path / "theirs"), "--out", str(run)])
    for number in range(6):
        (data / str(number)).mkdir(parents=True)
        for frame in ("frame1.png", "frame2.png"):
            pixels = np.random.default_rng(number).integers(0, 255, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(data / str(number) / frame)
        encode_flow(np.ones((2, 20, 30), np.float32), data / str(number) / "flow.flo")
    capsys.readouterr()
    main(["predict", str(run), str(data / "0" / "frame1.png"), str(data / "0" / "frame2.png"), "--json"])
    (row,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert decode_flow(Path(row["answer"][0])).shape == (2, 20, 30)
    main(["evaluate", str(run), str(data)])
    metrics = json.loads((run / "evaluations" / "data-all" / "report.json").read_text())["metrics"]
    assert metrics["still"] == pytest.approx(2**0.5)
    planned = sm.plan(data, start=run).config.model
    assert planned.task.kind == "flow"
    start_from(Perceiver(planned), run)


def test_a_text_model_without_a_run_is_evaluated(tmp_path: Path) -> None:
    """Nothing says that there are no labels but the model."""
    sm.save(ours_small("bytes"), tmp_path / "run")
    for number in range(4):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{number}.txt").write_text("one two")
    assert sm.evaluate(tmp_path / "run", tmp_path / "data")["task"] == "mlm"


def test_classes_without_names_are_numbered_and_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs("fourier").save_pretrained(tmp_path / "theirs")
    main(["import", str(tmp_path / "theirs"), "--out", str(tmp_path / "run")])
    assert "note: the classes are numbered" in capsys.readouterr().out
    assert sm.load(tmp_path / "run").task.classes == tuple(f"class {number}" for number in range(5))


@pytest.mark.parametrize("name", IMAGES)
def test_pictures_are_prepared_as_for_the_published_models(name: str) -> None:
    """The middle 224/256 of the shorter side, bicubic to 224, ImageNet's mean and deviation: as their processor."""
    from transformers.models.perceiver.image_processing_pil_perceiver import PerceiverImageProcessorPil

    down, across = np.mgrid[:300, :420] / 30
    waves = np.stack([np.sin(down), np.cos(across), np.sin(down + across)], -1)
    picture = Image.fromarray((127.5 + 127.5 * waves).astype(np.uint8))
    reader: Any = build_modality(presets.load(CHECKPOINTS[name].preset).inputs)
    file = io.BytesIO()
    picture.save(file, "png")
    sample = reader.load(file.getvalue())
    view = reader.view({name: torch.tensor(array)[None] for name, array in sample.items()})["image"]
    found = (view - reader.mean) / reader.std
    expected = PerceiverImageProcessorPil()(picture, return_tensors="pt").pixel_values
    assert found.shape == expected.shape
    assert float((found - expected).abs().mean()) < 0.02


# -- pickles that are more than arrays


class Call:
    """A pickle of this calls a function when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def _attacks(mark: Path) -> dict[str, Any]:
    import os
    import shutil
    import subprocess

    code = f"open({str(mark)!r}, 'w')"
    return {
        "posix.system": Call(os.system, f"touch {mark}"),
        "builtins.eval": Call(eval, code),
        "builtins.exec": Call(exec, code),
        "builtins.getattr": Call(getattr, "text", "upper"),
        "builtins.open": Call(builtins.open, str(mark), "w"),
        "subprocess.Popen": Call(subprocess.Popen, ["touch", str(mark)]),
        "shutil.copy": Call(shutil.copy, __file__, str(mark)),
        "numpy.save": Call(np.save, str(mark), 1),
        "numpy.fromfile": Call(np.fromfile, __file__),
        "numpy.load": Call(np.load, __file__, None, True),
    }


@pytest.mark.parametrize("wanted", _attacks(Path("mark")))
def test_a_pickle_with_code_is_refused_and_nothing_runs(wanted: str, tmp_path: Path) -> None:
    """One line names what it asked for; what it would have done has not been done."""
    mark = tmp_path / "mark"
    path = dump(tmp_path / "bad.pystate", {"params": {"a": {"w": _attacks(mark)[wanted]}}})
    with pytest.raises(sm.InputError, match=r"bad\.pystate: the pickle asks for .*no code was run") as caught:
        import_published(path, out=tmp_path / "run")
    assert wanted.split(".")[-1] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == [path]


def test_code_behind_names_that_are_allowed_is_refused(tmp_path: Path) -> None:
    """Dotted names, arrays of objects, the class of arrays called, an array made by something else."""
    system = b"cposix\nsystem\n(S'true'\ntR."
    raws = {
        "by the old opcode": system,
        "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
        "an instance": b"(S'true'\niposix\nsystem\n.",
        "the class called": b"\x80\x02cnumpy\nndarray\n(I9\ntR.",
        "attributes of a function": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n}X\x08\x00\x00\x00__call__I1\nsb.",
        "objects": pickle.dumps({"a": np.array([{1: 2}, None], object)}),
        "a persistent id": b"Pname\n.",
        "not a mapping": pickle.dumps([1, 2]),
        "numbers": pickle.dumps({"params": {"a": 1.0}}),
        "text": pickle.dumps({"params": "a"}),
        "cut": pickle.dumps({"a": np.zeros(99)})[:-50],
        "empty": b"",
    }
    for what, raw in raws.items():
        (tmp_path / "bad.pickle").write_bytes(raw)
        with pytest.raises(sm.InputError, match=r"bad\.pickle"):
            import_published(tmp_path / "bad.pickle", out=tmp_path / "run")
        assert not (tmp_path / "run").exists(), what
    assert not any(name.startswith(("builtins", "posix", "os.")) for name in ALLOWED)


def test_a_bin_file_with_code_is_refused(tmp_path: Path) -> None:
    torch.save({"a": Call(eval, f"open({str(tmp_path / 'mark')!r}, 'w')")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(sm.InputError, match="none of which was run"):
        import_published(tmp_path, out=tmp_path / "run")
    assert not (tmp_path / "mark").exists()


# -- what cannot be imported


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a refused import prints, with status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["import", *map(str, arguments)])
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert len(lines) == 1, lines
    return lines[0]


def test_what_is_no_checkpoint_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing, other files, damaged, both, unknown architectures, weights missing and too many, a folder taken."""
    from safetensors.torch import save_file

    assert "no such file" in refused(capsys, tmp_path / "nowhere.pystate")
    assert "no such file" in refused(capsys, tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("hello")
    assert "not a checkpoint" in refused(capsys, tmp_path / "notes.txt")
    assert "no model.safetensors" in refused(capsys, tmp_path)
    assert "known: bytes, conv" in refused(capsys, tmp_path, "--model", "resnet")

    folder = tmp_path / "theirs"
    theirs("learned").save_pretrained(folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(b"")
    assert "are both here" in refused(capsys, folder)
    (folder / "model.safetensors").unlink()
    assert "pytorch_model.bin: not read" in refused(capsys, folder)
    (folder / "pytorch_model.bin").unlink()
    (folder / "model.safetensors").write_bytes(whole[:-40])
    assert "damaged" in refused(capsys, folder)
    about = json.loads((folder / "config.json").read_text())
    (folder / "model.safetensors").write_bytes(whole)
    (folder / "config.json").write_text("{")
    assert "config.json: damaged" in refused(capsys, folder)
    (folder / "config.json").write_text(json.dumps({**about, "hidden_act": "relu"}))
    assert "hidden_act is 'relu'" in refused(capsys, folder)
    (folder / "config.json").write_text(json.dumps({**about, "num_self_attention_heads": 5}))
    assert "5 heads do not divide" in refused(capsys, folder)
    (folder / "config.json").write_text(json.dumps({**about, "self_attention_widening_factor": 2}))
    assert "is config.json of this file?" in refused(capsys, folder)
    for key, value in (("num_blocks", "many"), ("id2label", [1, 2]), ("num_cross_attention_heads", [])):
        (folder / "config.json").write_text(json.dumps({**about, key: value}))
        assert str(folder) in refused(capsys, folder)
    (folder / "config.json").write_text(json.dumps(about))
    assert "not the whole bytes checkpoint" in refused(capsys, folder, "--model", "bytes")

    weights = read_tensors(folder / "model.safetensors")
    weights["perceiver.more"] = weights.pop("perceiver.embeddings.latents")
    save_file(weights, str(folder / "model.safetensors"))
    line = refused(capsys, folder)
    assert "lacks perceiver.embeddings.latents and has besides perceiver.more" in line
    (folder / "config.json").unlink()
    assert "not the whole learned checkpoint" in refused(capsys, folder)
    save_file({"fc.weight": torch.zeros(3)}, str(folder / "model.safetensors"))
    assert "not an architecture that is known" in refused(capsys, folder)

    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    assert "another --out" in refused(capsys, folder, "--out", run)


def test_a_model_of_ours_needs_no_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sm.save(ours_small("fourier"), tmp_path / "run")
    assert "model of sensorium already" in refused(capsys, tmp_path / "run")


# -- the hub


def test_names_on_the_hub(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloaded, the older file where there is no newer one; no network and no extra are a line with the cure."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    name = "deepmind/vision-perceiver-learned"
    theirs("learned").save_pretrained(tmp_path / "hub")
    torch.save(read_tensors(tmp_path / "hub" / "model.safetensors"), tmp_path / "hub" / "pytorch_model.bin")

    def download(repository: str, file: str) -> str:
        assert repository == name
        if file == "model.safetensors":
            raise EntryNotFoundError("404")
        return str(tmp_path / "hub" / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert import_published(name, out=tmp_path / "run").checkpoint == "learned"

    def offline(repository: str, file: str) -> str:
        raise LocalEntryNotFoundError("no connection\nand no file in the cache")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    assert "download config.json and model.safetensors or pytorch_model.bin by hand" in refused(capsys, name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'sensorium[hub]'" in refused(capsys, name)
