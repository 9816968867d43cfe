"""The server answers what ``sensorium predict`` answers, alone and together with others, and reads nothing else."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("fastapi", reason="the extra serve")

from served import CLASSES, KINDS, NUMBERS, ROWS, client, film, form, lines, numbers, png, run_of, wav

import sensorium as sm
from sensorium.codecs import flow as flow_files
from sensorium.config import to_dict
from sensorium.data import DataConfig, InputConfig
from sensorium.errors import InputError
from sensorium.inference.attention_maps import attention_maps
from sensorium.inference.opened import answer_inputs, open_run
from sensorium.modalities import ImageConfig, PairConfig, TextConfig
from sensorium.models import checkpoints
from sensorium.nn import DecoderConfig
from sensorium.serve.engine import Engine
from sensorium.serve.limits import Limits
from sensorium.serve.metrics import Metrics
from sensorium.tasks import FlowConfig, MLMConfig, ReconstructConfig, TagConfig
from small_models import small_model


def saved_files(files: dict[str, bytes], folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_that_of_predict(kind: str, tmp_path: Path) -> None:
    """Of files and of JSON; with its name, its target and its remarks; a vector is that of ``embed``."""
    content, run = KINDS[kind], run_of(kind, tmp_path / "run")
    paths = saved_files(content.files, tmp_path / "files")
    expected = sm.predict(run, paths)
    with client(run) as server:
        answered = server.post("/v1/predict", files=form(content.files)).json()["answers"]
        np.testing.assert_allclose(numbers(answered), numbers(expected), rtol=1e-4, atol=1e-4)
        for answer, wanted in zip(answered, expected, strict=True):
            values = wanted.to_dict()
            assert answer["file"] == values["file"].replace(f"{tmp_path / 'files'}/", "")
            assert answer.get("target") == values.get("target")
            assert answer.get("remarks") == values.get("remarks")
            assert set(answer["answer"]) == set(values["answer"])
        vectors = server.post("/v1/embed", files=form(content.files)).json()["answers"]
        np.testing.assert_allclose([answer["vector"] for answer in vectors], sm.embed(run, paths), rtol=1e-4, atol=1e-3)
        if content.values:
            answered = server.post("/v1/predict", json={"examples": content.values}).json()["answers"]
            np.testing.assert_allclose(numbers(answered), numbers(expected), rtol=1e-3, atol=1e-3)
            assert [answer["file"] for answer in answered] == [f"example {n + 1}" for n in range(len(answered))]


@pytest.mark.parametrize("kind", KINDS)
def test_an_explanation_is_the_map_over_what_the_model_reads(kind: str, tmp_path: Path) -> None:
    """The attention is that of the last cross-attend, a byte for each element that is drawn."""
    content, run = KINDS[kind], run_of(kind, tmp_path / "run")
    model, examples = open_run(run, saved_files(content.files, tmp_path / "files"))
    view = answer_inputs(model, examples, 0)
    wanted = attention_maps(model, view)[-1]
    wanted = wanted if isinstance(wanted, dict) else {model.inputs.name: wanted}
    drawn = {"image": "pixels", "video": "frames", "audio": "spectrogram", "points": "points", "series": "series"}
    drawn["volume"] = "slices"
    with client(run) as server:
        answer = server.post("/v1/explain", files=form(content.files)).json()["answers"][0]
        first = server.post("/v1/explain?cross_attend=0", files=form(content.files)).json()["answers"][0]
        assert server.post("/v1/explain?cross_attend=9", files=form(content.files)).status_code == 422
    assert (answer["cross_attend"], answer["cross_attends"], first["cross_attend"]) == (2, 3, 0)
    assert set(answer["signals"]) == set(wanted)
    if kind == "fusion":
        assert [sum(shares.values()) for shares in answer["shares"]] == pytest.approx([1.0] * 3)
    for name, signal in answer["signals"].items():
        found = decoded(signal["attention"])
        exact = (wanted[name][0].reshape(-1).clamp(0, 1) * 255).round().byte().numpy()
        assert found.size <= exact.size
        np.testing.assert_array_equal(found.reshape(-1), exact[: found.size])
        if signal["kind"] in drawn:
            shape = decoded(signal[drawn[signal["kind"]]]).shape
            assert shape[: found.ndim] == found.shape
    if kind == "text":
        assert answer["signals"]["text"]["text"] == "a good film"
    if kind == "table":
        assert answer["signals"]["table"]["cells"] == pytest.approx([30.0, "Rome", 1.8], abs=1e-6)


def decoded(array: dict[str, Any]) -> np.ndarray:
    """An array of an answer, as the documentation says."""
    return np.frombuffer(base64.b64decode(array["data"]), array["dtype"]).reshape(array["shape"])


TASKS: dict[str, tuple[Any, Any, dict[str, bytes]]] = {
    "mlm": (TextConfig(length=20, channels=8), MLMConfig(), {"a.txt": b"a [MASK]ilm", "b.txt": b"ba[MASK]"}),
    "reconstruct": (KINDS["image"].config, ReconstructConfig(mask_ratio=0.5), {"a.png": png(0), "b.png": png(1)}),
    "flow": (PairConfig(size=(8, 8), bands=2), FlowConfig(), {"a.png": png(0), "b.png": png(1)}),
    "tag": (KINDS["points"].config, TagConfig(classes=("a", "b")), KINDS["points"].files),
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_served(task: str, tmp_path: Path) -> None:
    """What can be said in words, and pictures of what is a signal."""
    inputs, config, files = TASKS[task]
    parts = {} if task == "tag" else {"decoder": DecoderConfig(query_residual=False)}
    model = small_model(inputs, config, **parts)
    expected = sm.predict(model, saved_files(files, tmp_path / "files"), top=2)
    with client(model) as server:  # type: ignore[arg-type]
        answered = server.post("/v1/predict?top=2", files=form(files)).json()["answers"]
        explained = server.post("/v1/explain?top=2", files=form(files)).json()["answers"]
    for found in (answered, explained):
        assert len(found) == len(expected)
        for answer, wanted in zip(found, expected, strict=True):
            values = wanted.to_dict()
            assert answer["answer"] == values["answer"]
            assert answer["scores"] == pytest.approx(values["scores"], rel=1e-3, abs=1e-4)
            assert [list(hole) for hole in answer.get("holes", [])] == [list(hole) for hole in values.get("holes", [])]
    titles = [picture["title"] for picture in explained[0].get("pictures", [])]
    assert titles == {
        "mlm": ["Input", "Filled in"],
        "reconstruct": ["Signal", "Reconstruction"],
        "flow": ["First frame", "Prediction"],
    }.get(task, [])


@pytest.mark.parametrize("size", [(8, 8), (13, 21), (8, 40), (5, 6)], ids=str)
def test_motion_is_that_of_whole_frames(size: tuple[int, int], tmp_path: Path) -> None:
    """Of any size, also smaller than the model's: the numbers that ``sensorium predict`` writes."""
    model = small_model(PairConfig(size=(8, 8), bands=2), FlowConfig(), decoder=DecoderConfig(query_residual=False))
    files = {f"{number}.png": png(number, size) for number in range(2)}
    paths = saved_files(files, tmp_path / "files")
    (written,) = sm.predict(model, paths, out=tmp_path / "flow")
    exact = flow_files.decode(Path(written.answer[0]))
    assert exact.shape == (2, *size)
    with client(model) as server:  # type: ignore[arg-type]
        (answer,) = server.post("/v1/predict", files=form(files)).json()["answers"]
        (explained,) = server.post("/v1/explain", files=form(files)).json()["answers"]
    (in_python,) = sm.predict(model, paths)
    assert in_python.flow is not None
    for found in (decoded(answer["flow"]), in_python.flow):
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)
    for scores in (answer["scores"], explained["scores"], in_python.scores):
        assert scores == pytest.approx(written.scores, rel=1e-4)


def test_motion_of_large_frames_is_bounded(tmp_path: Path) -> None:
    """In pixels, of all the pairs of a request, and in seconds."""
    model = small_model(PairConfig(size=(8, 8), bands=2), FlowConfig(), decoder=DecoderConfig(query_residual=False))
    files = {f"{number}.png": png(number, (20, 20)) for number in range(4)}
    with client(model, frames=799) as server:  # type: ignore[arg-type]
        assert server.post("/v1/predict", files=form(dict(list(files.items())[:2]))).status_code == 200
        refused = server.post("/v1/predict", files=form(files))
    assert refused.status_code == 422
    assert "motion of 800 pixels or more, 799 are the most" in refused.json()["error"]
    engine = Engine(model, limits=Limits(time=1e-9), metrics=Metrics())
    with pytest.raises(InputError, match="took longer than 1e-09 seconds"):
        engine._predict_in_time()({})
    engine.close()


def test_texts_of_several_bytes_a_letter_have_a_map_over_letters(tmp_path: Path) -> None:
    with client(run_of("text", tmp_path)) as server:
        answer = server.post("/v1/explain", json={"examples": ["größer"]}).json()["answers"][0]
    signal = answer["signals"]["text"]
    assert signal["text"] == "größer"
    assert signal["attention"]["shape"] == [6]


def test_answers_do_not_depend_on_who_else_asks(tmp_path: Path) -> None:
    """Forty requests at a time, of one to three examples, for one to three classes: each gets its own."""
    run = run_of("image", tmp_path, task=CLASSES)
    files = {f"{number}.png": png(number) for number in range(12)}
    model = sm.load(run)
    wanted = {name: sm.predict(model, content, top=4)[0].scores for name, content in files.items()}
    random = np.random.default_rng(0)

    with client(run, latency=0.05) as server:

        def send(number: int) -> None:
            names = [f"{n}.png" for n in np.random.default_rng(number).integers(0, 12, 1 + number % 3)]
            top = 1 + number % 4
            parts = [("file", (name, files[name])) for name in names]
            answered = server.post(f"/v1/predict?top={top}", files=parts).json()["answers"]
            assert [answer["file"] for answer in answered] == names
            for answer, name in zip(answered, names, strict=True):
                assert list(answer["scores"]) == list(wanted[name])[:top]
                assert list(answer["scores"].values()) == pytest.approx(list(wanted[name].values())[:top], abs=1e-5)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, random.permutation(40)))
        counted = dict(line.rsplit(" ", 1) for line in server.get("/metrics").text.splitlines() if line[0] != "#")
    assert float(counted["sensorium_batch_examples_sum"]) == sum(1 + number % 3 for number in range(40))
    assert float(counted["sensorium_batch_examples_count"]) < 40  # some were answered together
    assert counted['sensorium_requests_total{path="/v1/predict",status="200"}'] == "40.0"


def test_what_cannot_be_read_has_an_error_and_the_others_an_answer(tmp_path: Path) -> None:
    run = run_of("image", tmp_path)
    with client(run) as server:
        files = {"a.png": png(0), "notes.png": b"no picture", "b.png": png(1)}
        answered = server.post("/v1/predict", files=form(files)).json()["answers"]
        assert ["error" in answer for answer in answered] == [False, True, False]
        assert answered[1]["file"] == "notes.png"
        alone = server.post("/v1/predict", files=form({"../x/notes.png": b"no picture"}))
    assert alone.status_code == 422
    assert alone.json() == {"error": "notes.png: not a picture that can be decoded; replace or remove it"}
    np.testing.assert_allclose(numbers([answered[2]]), numbers(sm.predict(run, png(1))), rtol=1e-4)


def test_signals_of_one_example_come_by_their_names(tmp_path: Path) -> None:
    """Or as files of one name; the n-th of each are the n-th example; a text may be a plain field."""
    run = run_of("fusion", tmp_path)
    with client(run) as server:
        parts = form({"x.mkv": film(0), "y.mkv": film(1)}, "video") + form({"b.wav": wav(0), "a.wav": wav(1)}, "audio")
        answered = server.post("/v1/predict", files=parts, data={"text": ["a good film", "bad"]}).json()["answers"]
        pairs = {"1.mkv": film(0), "1.wav": wav(0), "1.txt": b"a good film"}
        pairs |= {"2.mkv": film(1), "2.wav": wav(1), "2.txt": b"bad"}
        by_stem = server.post("/v1/predict", files=form(pairs)).json()["answers"]
        np.testing.assert_allclose(numbers(answered), numbers(by_stem), rtol=1e-4)
        alone = server.post("/v1/predict", data={"text": "bad"}, files=form({"x.mkv": film(1)}, "video"))
        assert alone.status_code == 200
        for wrong, reason in (
            (parts[:3], "as many parts of each signal are needed, not 2 of video, 1 of audio"),
            (form({"a.wav": wav(0)}, "sound"), "no signal is called 'sound'"),
            (form({"a.pdf": b"%PDF"}), "it holds nothing that is known"),
        ):
            refused = server.post("/v1/predict", files=wrong)
            assert refused.status_code == 422
            assert reason in refused.json()["error"]
        nothing = server.post("/v1/predict", json={"examples": [{"text": None}]})
        assert nothing.status_code == 422


@pytest.mark.parametrize(
    ("kind", "examples", "reason"),
    [
        ("image", ["/etc/hostname"], "a signal is nested lists of numbers, not a string"),
        ("image", [[["/etc/hostname"]]], "is no signal"),
        ("image", [[[1, 2], [3]]], "all of the same length"),
        ("image", [None], "not null"),
        ("table", ["/etc/hostname"], "a row is an object"),
        ("table", [["/etc/hostname"]], "1 values, the model reads 3 columns"),
        ("table", [{"table": "/etc/hostname"}], "none of its columns"),
        ("table", [{"age": [1, 2]}], "a row is an object"),
        ("series", [{"series": "/etc/hostname"}], "not an object"),
        ("audio", [{"values": [0.1], "rate": "x"}], "sound with a rate is"),
        ("text", [3], "text is a string, not a number"),
        ("points", [[[1e999, 0, 0]]], "infinite"),
        ("points", [[[10**400, 0, 0]]], "nested lists"),
        ("fusion", [{"video": "/etc/hostname"}], "not a string"),
        ("fusion", ["/etc/hostname"], "several signals"),
    ],
)
def test_json_is_signals_and_nothing_else(kind: str, examples: list[Any], reason: str, tmp_path: Path) -> None:
    """No string in it is the path of a file."""
    with client(run_of(kind, tmp_path)) as server:
        refused = server.post("/v1/predict", content=json.dumps({"examples": examples}), headers=JSON)
    assert refused.status_code == 422, refused.text
    assert reason in refused.json()["error"]


JSON = {"Content-Type": "application/json"}


def test_a_text_that_is_a_path_is_a_text(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("bad")
    run = run_of("text", tmp_path / "run")
    with client(run) as server:
        for text in (str(secret)[-20:], "secret.txt"):
            answer = server.post("/v1/predict", json={"examples": [text]}).json()["answers"]
            np.testing.assert_allclose(numbers(answer), numbers(sm.predict(run, text.encode())), rtol=1e-4)
        assert server.post("/v1/predict", content='{"examples": ["\\ud800"]}', headers=JSON).status_code == 200


@pytest.mark.parametrize("config", [TextConfig(length=20, channels=8), ImageConfig(size=(8, 8), bands=3)])
def test_files_that_a_table_names_are_not_read(config: Any, tmp_path: Path) -> None:
    """Not even for a run that was trained on a table of paths."""
    (tmp_path / "secret.txt").write_text("bad")
    (tmp_path / "secret.png").write_bytes(png(0))
    suffix = "txt" if config.kind == "text" else "png"
    run = tmp_path / "run"
    checkpoints.save(small_model(config, NUMBERS), run)
    description = DataConfig(layout="table", inputs={config.kind: InputConfig(kind=config.kind, column="path")})
    (run / "config.yaml").write_text(json.dumps({"format": checkpoints.FORMAT, "data": to_dict(description)}))
    table = f"path\n{tmp_path}/secret.{suffix}\n".encode()
    (tmp_path / "a.csv").write_bytes(table)
    assert sm.predict(run, tmp_path / "a.csv")[0].error is None  # the owner of the files may
    with client(run) as server:
        refused = server.post("/v1/predict", files=form({"a.csv": table}))
    assert refused.status_code == 422
    assert "are not read here; give the files themselves" in refused.json()["error"]


def test_many_rows_are_answered_in_order(tmp_path: Path) -> None:
    """More than fit into one batch."""
    rows = np.stack([np.linspace(20, 60, 150), np.linspace(1.5, 2.0, 150)], axis=1)
    table = lines(rows, header="age,height")
    run = run_of("table", tmp_path)
    (tmp_path / "a.csv").write_bytes(table)
    with client(run) as server:
        answered = server.post("/v1/predict", files=form({"a.csv": table})).json()
    np.testing.assert_allclose(numbers(answered["answers"]), numbers(sm.predict(run, tmp_path / "a.csv")), rtol=1e-4)
    assert answered["answers"][149]["file"] == "a.csv row 150"
    assert answered["answers"][0]["remarks"][0].startswith("column 'city' is missing")


def test_a_model_in_memory_is_served(tmp_path: Path) -> None:
    """Without a run folder, as for tests of programs."""
    model = small_model(KINDS["points"].config, NUMBERS)
    with client(model) as server:  # type: ignore[arg-type]
        answered = server.post("/v1/predict", json={"examples": KINDS["points"].values}).json()["answers"]
        facts = server.get("/v1/schema").json()
    expected = [sm.predict(model, np.array(values))[0] for values in KINDS["points"].values]
    np.testing.assert_allclose(numbers(answered), numbers(expected), rtol=1e-3, atol=1e-4)
    assert facts["signals"][0]["points"] == 12


def test_the_schema_says_what_is_taken(tmp_path: Path) -> None:
    with client(run_of("table", tmp_path)) as server:
        facts = server.get("/v1/schema").json()
        paths = server.get("/openapi.json").json()["paths"]
    assert facts["target"] == "mood"
    assert facts["classes"] == ["a", "b", "c"]
    (signal,) = facts["signals"]
    assert [column["name"] for column in signal["columns"]] == list(ROWS[0])
    assert signal["columns"][1]["categories"] == ["Oslo", "Rome"]
    assert {"/v1/predict", "/v1/explain", "/v1/embed", "/v1/schema", "/healthz", "/metrics"} == set(paths)
    assert set(paths["/v1/predict"]["post"]["requestBody"]["content"]) == {"multipart/form-data", "application/json"}


def test_nan_is_null(tmp_path: Path) -> None:
    """JSON has no NaN."""
    model = small_model(KINDS["points"].config, NUMBERS)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.fill_(float("nan"))
    with client(model) as server:  # type: ignore[arg-type]
        answered = server.post("/v1/predict", json={"examples": KINDS["points"].values[:1]})
    assert answered.status_code == 200
    assert answered.json()["answers"][0]["scores"] == {"a": None, "b": None, "c": None}
