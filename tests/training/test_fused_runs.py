"""Several signals of one example, from files to a report: trained, evaluated, asked, explained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import sensorium as sm
from builders import film
from sensorium.cli import main
from sensorium.data.stores import collate
from sensorium.errors import InputError
from sensorium.inference.attention_maps import attention_map, attention_maps, attention_shares
from sensorium.modalities import Fusion, FusionConfig, ImageConfig, TextConfig, VideoConfig, build_modality
from sensorium.modalities.audio import AudioConfig
from sensorium.modalities.fusion import WITHHELD
from sensorium.models import presets
from sensorium.models.auto import Facts, choose_encoder, choose_inputs, choose_recipe
from sensorium.training.mixing import mix
from small_models import SMALLEST_RUN

SMALL = (*SMALLEST_RUN, "model.encoder.cross_attention=[0,1]", "model.encoder.latent_transformer=[0,1]")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Twenty films of two classes; two lack sound."""
    for number in range(20):
        film(tmp_path / "films" / "ab"[number % 2] / f"{number}.mkv", sound=number not in (4, 9), seed=number)
    return tmp_path / "films"


TABLE = ("age=table", "city=table")  # plain columns beside a signal are inputs if they are named


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A picture's path, numbers and categories a line; one picture is missing."""
    folder = tmp_path / "people"
    folder.mkdir()
    random = np.random.default_rng(0)
    lines = ["photo,age,city,label"]
    for number in range(24):
        Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        photo = "" if number == 5 else f"{number}.png"
        lines.append(f"{photo},{random.normal():.2f},{'xyz'[number % 3]},{'ab'[number % 2]}")
    (folder / "people.csv").write_text("\n".join(lines))
    return folder


def test_films_with_sound_from_files_to_report(films: Path, tmp_path: Path) -> None:
    """Trains although some lack sound; evaluates, answers single files, says which modality was read."""
    out = tmp_path / "run"
    result = sm.train(films, out=out, epochs=2, settings=SMALL)
    told = result["attention_shares"]
    assert set(told) == {"audio", "video"}
    for read in range(2):
        assert sum(told[name][read] for name in told) == pytest.approx(1.0, abs=1e-4)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "The share of the attention that each modality got" in page
    again = sm.evaluate(out, films)
    assert again["metrics"] == pytest.approx(result["metrics"])
    silent = sm.evaluate(out, films, without=["audio"])
    assert Path(silent["folder"]) == out / "evaluations" / "films-test-without-audio"
    assert silent["attention_shares"]["audio"] == [0, 0]
    assert silent["metrics"]["loss"] != again["metrics"]["loss"]
    assert json.loads((out / "report.json").read_text())["metrics"] == again["metrics"]  # the run's own is as it was
    for without, told in (("sound", "did you mean|there is no such signal"), ("audio,video", "nothing would be left")):
        with pytest.raises(InputError, match=told):
            sm.evaluate(out, films, without=without.split(","))
    answers = sm.predict(out, [films / "a" / "0.mkv", films / "a" / "4.mkv"])
    assert [answer.file for answer in answers] == [str(films / "a" / "0.mkv"), str(films / "a" / "4.mkv")]
    wave = tmp_path / "alone.wav"
    soundfile.write(wave, np.zeros(800), 8000)
    assert sm.predict(out, [wave])[0].answer in ("a", "b")
    model = sm.load(out)
    assert isinstance(model.inputs, Fusion)
    assert model.inputs.config.dropout == {"video": 0.3}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "other", "having"), [("video", "audio", 18), ("audio", "video", 20)])
def test_a_signal_is_taken_away_from_the_shell_to_the_page(
    films: Path, tmp_path: Path, name: str, other: str, having: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every example is scored, those that have nothing else as well; the report says what was taken, shows nothing of
    it, and stands beside the run's own."""
    out = tmp_path / "run"
    sm.train(films, out=out, epochs=2, settings=SMALL)
    own = (out / "report.json").read_text()
    main(["evaluate", str(out), str(films), "--without", name, "--split", "all"])
    folder = out / "evaluations" / f"films-all-without-{name}"
    said = capsys.readouterr().out
    assert f"report: {folder / 'report.html'}" in said
    assert "all (20 examples, 16 seen in training): accuracy" in said
    report = json.loads((folder / "report.json").read_text())
    assert (report["samples"], report["set_aside"], report["warnings"]) == (20, [], [f"evaluated without {name}"])
    assert report["attention_shares"][name] == [0, 0]
    assert report["attention_shares"][other] == pytest.approx([having / 20] * 2, abs=1e-5)
    assert np.isfinite(report["metrics"]["loss"])
    page = (folder / "report.html").read_text("utf-8")
    assert f"evaluated without {name}" in page
    assert (out / "report.json").read_text() == own


def test_what_is_left_of_nothing_is_answered(films: Path) -> None:
    """A silent film of which the pictures are withheld is an example without rows; one that has neither is an error."""
    config = sm.plan(films, epochs=1, settings=SMALL).config
    model = sm.build(config.model).eval()
    silent, loud = ({"audio": films / "a" / name, "video": WITHHELD} for name in ("4.mkv", "0.mkv"))
    samples = [model.inputs.load(raw) for raw in (loud, silent)]
    assert [bool(sample["audio.present"]) for sample in samples] == [True, False]
    assert not any(bool(sample["video.present"]) for sample in samples)
    scores = model(model.inputs.view(collate(samples, ragged=["audio"]))).scores
    assert scores.isfinite().all()
    assert scores.shape == (2, 2)
    with pytest.raises(InputError, match="it has none of audio, video"):
        model.inputs.load(silent | {"video": None})


def test_explain_tells_each_sense_apart(films: Path, tmp_path: Path) -> None:
    """A map each, and shares that sum to 1; what an example lacks gets none."""
    config = sm.plan(films, epochs=1, settings=SMALL).config
    model = sm.build(config.model).eval()
    clip = model.inputs.load({"audio": films / "a" / "0.mkv", "video": films / "a" / "0.mkv"})
    batch = {name: torch.from_numpy(value)[None] for name, value in clip.items()}
    view = model.inputs.view(batch)
    maps = attention_map(model, view)
    assert set(maps) == {"audio", "video"}
    assert maps["video"].shape == (1, view["video"].shape[1], 1, *view["video"].shape[-2:])
    assert all(float(map_.min()) >= 0 and float(map_.max()) <= 1 for map_ in maps.values())
    assert len(attention_maps(model, view)) == 2
    silent = {**view, "audio.present": torch.tensor([False])}
    for told, lacking in zip(attention_shares(model, view), attention_shares(model, silent), strict=True):
        assert float(told["audio"] + told["video"]) == pytest.approx(1.0, abs=1e-5)
        assert float(lacking["audio"]) == 0
        assert float(lacking["video"]) == pytest.approx(1.0, abs=1e-5)


def test_a_picture_beside_a_table(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An ordinary case: inspect tells the modalities and what they lack, training and predicting by line work."""
    main(["inspect", str(people), "--kind", "age=table", "--kind", "city=table"])
    said = capsys.readouterr().out
    assert "photo (image), table" in said
    assert "photo: 64 rows" in said
    assert "inputs:" in said
    assert "column: photo" in said
    out = tmp_path / "run"
    sm.train(people, out=out, epochs=2, settings=SMALL, kind=TABLE)
    answers = sm.predict(out, [people / "people.csv"])
    assert len(answers) == 24
    assert answers[5].file == f"{people / 'people.csv'} row 6"
    (tmp_path / "facts.csv").write_text("age,city\n1.0,x\n")
    assert len(sm.predict(out, [tmp_path / "facts.csv"])) == 1


def test_senses_may_be_read_one_after_the_other(people: Path, tmp_path: Path) -> None:
    """``look`` from the shell, and a misspelt name with its cure before anything is trained."""
    look = ("model.encoder.attends_to=[[table],[photo]]",)
    result = sm.train(people, out=tmp_path / "run", epochs=1, settings=(*SMALL, *look), kind=TABLE)
    told = result["attention_shares"]
    assert told["table"][0] == pytest.approx(1.0)
    assert told["photo"][0] == 0
    assert told["table"][1] == 0
    with pytest.raises(InputError, match="attends_to names 'foto', which is no modality; did you mean 'photo'"):
        sm.build(sm.plan(people, settings=(*SMALL, "model.encoder.attends_to=[[foto],null]"), kind=TABLE).config.model)


def test_evaluation_averages_views(films: Path, tmp_path: Path) -> None:
    """Of long films several clips, with the sound of each."""
    settings = (*SMALL, "model.inputs.modalities.video.frames=3", "model.inputs.modalities.video.clips=2")
    result = sm.train(films, out=tmp_path / "run", epochs=1, settings=settings)
    model = sm.load(tmp_path / "run")
    files = [films / "a" / "0.mkv"]
    said = sm.predict(tmp_path / "run", files)[0].scores
    clip = model.inputs.load(dict.fromkeys(("audio", "video"), files[0]))
    batch = {name: torch.from_numpy(value)[None] for name, value in clip.items()}
    with torch.no_grad():
        views = [model(view).scores[0] for view in model.inputs.views(batch)]
    assert len(views) == 2
    assert sorted(said.values()) == pytest.approx(sorted(torch.stack(views).mean(0).tolist()), abs=1e-5)
    assert np.isfinite(result["metrics"]["loss"])


def test_mixup_is_of_signals_that_both_examples_have() -> None:
    """Of the others, each example keeps its own; the share of its target is the mean over the signals that it has."""
    torch.manual_seed(0)
    a, b, target = torch.rand(3, 3).double(), torch.rand(3, 3).double(), torch.eye(3).double()
    b[1] = torch.nan  # an absent signal may hold anything
    batch = {"a": a, "b": b, "b.present": torch.tensor([True, False, True])}
    inputs = build_modality(FusionConfig(modalities={"a": ImageConfig(), "b": VideoConfig()}))
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        mixed, labels = mix(batch, inputs, target, mixup=1.0, generator=generator)
        own = torch.stack([torch.linalg.lstsq(a.T, row).solution for row in mixed["a"]])  # of each in each
        torch.testing.assert_close(own @ a, mixed["a"])
        for example in range(3):
            partner = next(iter({0, 1, 2} - {example} & set(labels[example].nonzero().flatten().tolist())), example)
            has_both = example != 1 and partner != 1
            if example != 1:
                expected = torch.lerp(b[partner], b[example], own[example, example]) if has_both else b[example]
                torch.testing.assert_close(mixed["b"][example], expected)
            share = own[example, example]
            in_b = share if has_both else torch.ones(()).double()
            torch.testing.assert_close(labels[example, example], share if example == 1 else (share + in_b) / 2)
    whole = {"a": a, "b": torch.rand(3, 3).double(), "b.present": torch.ones(3).bool()}
    mixed, labels = mix(whole, inputs, target, mixup=1.0, generator=torch.Generator())
    torch.testing.assert_close(labels @ whole["a"], mixed["a"])
    torch.testing.assert_close(labels @ whole["b"], mixed["b"])


# -- auto and presets -------------------------------------------------------------------------------------------------


def test_auto_treats_each_sense_by_its_own_rules() -> None:
    """Read as often as the modality that is read most; the one with the most patches is dropped."""
    picture, words = ImageConfig(size=(64, 64)), TextConfig(length=30)
    facts = Facts(task="tag", examples=1000)
    inputs = choose_inputs(FusionConfig(modalities={"words": words, "photo": picture}), facts)
    assert inputs.modalities == {"words": choose_inputs(words, facts), "photo": choose_inputs(picture, facts)}
    assert inputs.dropout == {"photo": 0.3}
    assert choose_encoder(inputs, facts) == choose_encoder(choose_inputs(picture, facts), facts)
    assert choose_recipe(inputs, facts).drop_rows == 0


@pytest.mark.parametrize(("name", "rows"), [("video", 12_544), ("av", 13_024), ("av-mel", 17_344)])
def test_audioset_presets(name: str, rows: int) -> None:
    """The papers' byte arrays: 12,544 patches, 480 rows of samples or 4,800 of a mel spectrogram; 487 channels."""
    preset = presets.load(f"perceiver-audioset-{name}")
    with torch.device("meta"):
        model = sm.build(f"perceiver-audioset-{name}")
    assert model.inputs.num_rows == rows
    assert model.inputs.channels == (483 if name == "video" else 487)
    assert preset.task == "tag"
    assert model.task.output_channels == 527
    assert preset.encoder.cross_attention == preset.encoder.latent_transformer == (0, 1)


def test_a_preset_takes_the_data_s_names() -> None:
    """The paper's video and audio, under the names that the data gives them; other kinds are refused."""
    measured = FusionConfig(modalities={"voice": AudioConfig(), "clip": VideoConfig()})
    preset, facts = presets.load("perceiver-audioset-av"), Facts(task="tag", examples=100)
    inputs = preset.choose(measured, facts).inputs
    assert isinstance(inputs, FusionConfig)
    assert {name: config.kind for name, config in inputs.modalities.items()} == {"clip": "video", "voice": "audio"}
    assert inputs.dropout == {"clip": 0.3}
    other = replace(measured, modalities={"photo": ImageConfig(), "voice": AudioConfig()})
    with pytest.raises(InputError, match="reads audio and video, the data is audio and image"):
        preset.choose(other, facts)


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_a_preset_of_one_signal_leaves_the_others_out(kind: str, films: Path) -> None:
    """Of films with sound the pictures alone, or the sound alone; the run's description says so too."""
    planned = sm.plan(films, preset=f"perceiver-audioset-{kind}", epochs=1)
    assert planned.config.model.inputs.kind == kind
    assert planned.source.kinds == {kind: kind}
    assert set(planned.source.splits["train"].raws) == set(planned.config.data.inputs or {}) == {kind}


def test_predicting_what_the_model_does_not_read(films: Path, people: Path, tmp_path: Path) -> None:
    sm.train(films, out=tmp_path / "run", epochs=1, settings=SMALL)
    with pytest.raises(InputError, match="it holds image, the model reads audio, video"):
        sm.predict(tmp_path / "run", [people / "0.png"])
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["config"]["data"]["inputs"]["audio"]["kind"] == "audio"
