"""The same signals in many containers: the same rows, and of one model the same answers."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from layout_signals import AXES, PLACES, SMALL, csv, motion, tone, write

import sensorium as sm
from sensorium.data import Source, load_samples
from sensorium.models.perceiver import Perceiver
from sensorium.training.plan import plan, recognise

NUMBERS = range(1, 21)  # examples are called so, in files and in rows
NAMES = [PLACES[number % 2] for number in NUMBERS]
VALUES = {number: np.round(motion(number, 40).astype(np.float64), 4) for number in NUMBERS}
FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


# -- the containers of a series -----------------------------------------------------------------------------------


def stacked() -> dict[str, np.ndarray]:
    return {"x": np.stack(list(VALUES.values())).astype(np.float32), "y": np.array(NAMES)}


def npz(root: Path) -> None:
    np.savez(root / "steps.npz", **stacked())


def npz_channels_first(root: Path) -> None:
    np.savez(root / "steps.npz", x=stacked()["x"].swapaxes(1, 2), y=stacked()["y"])


def h5(root: Path) -> None:
    with h5py.File(root / "steps.h5", "w") as file:
        file["x"] = stacked()["x"]
        file["y"] = [name.encode() for name in NAMES]


def lines(number: int, names: tuple[str, ...], *, time: bool) -> str:
    """A recording as text, its columns in this order."""
    order = [AXES.index(name) for name in names]
    head = ",".join((*(["time"] if time else []), *names))
    rows = [
        ",".join([*([f"{step / 50}"] if time else []), *(f"{value:.4f}" for value in values[order])])
        for step, values in enumerate(VALUES[number])
    ]
    return "\n".join((head, *rows)) + "\n"


def long_csv(root: Path) -> None:
    columns: dict[str, list[Any]] = {name: [] for name in ("recording", "time", *AXES, "label")}
    for number, values in VALUES.items():
        columns["recording"] += [number] * len(values)
        columns["time"] += [step / 50 for step in range(len(values))]
        columns["label"] += [PLACES[number % 2]] * len(values)
        for name, channel in zip(AXES, values.T, strict=True):
            columns[name] += channel.tolist()
    csv(root / "steps.csv", columns)


def shuffled_csv(root: Path) -> None:
    orders = (AXES, ("az", "ax", "ay"), ("ay", "az", "ax"))
    for number in NUMBERS:
        text = lines(number, orders[number % 3], time=number % 2 == 0)
        write(root / PLACES[number % 2] / f"{number}.csv", text)


def compressed_csv(root: Path) -> None:
    for number in NUMBERS:
        write(root / PLACES[number % 2] / f"{number}.csv.gz", gzip.compress(lines(number, AXES, time=True).encode()))


def npy_files(root: Path) -> None:
    for number in NUMBERS:
        folder = root / PLACES[number % 2]
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{number}.npy", VALUES[number])


def arrow_lists(root: Path) -> None:
    series = pa.array([VALUES[number].tolist() for number in NUMBERS], pa.list_(pa.list_(pa.float64())))
    table = pa.table({"series": series, "label": NAMES})
    with pa.ipc.new_file(root / "steps.arrow", table.schema) as writer:
        writer.write_table(table)


def ts_gz(root: Path) -> None:
    text = ["@classLabel true walk run", "@data"]
    for number in NUMBERS:
        channels = (",".join(f"{value:.4f}" for value in channel) for channel in VALUES[number].T)
        text.append(":".join((*channels, PLACES[number % 2])))
    write(root / "steps.ts.gz", gzip.compress("\n".join(text).encode()))


# -- the containers of sound --------------------------------------------------------------------------------------


def wav_folders(root: Path) -> None:
    for number in NUMBERS:
        write(root / PLACES[number % 2] / f"{number}.wav", tone(number))


def wav_gz(root: Path) -> None:
    for number in NUMBERS:
        write(root / PLACES[number % 2] / f"{number}.wav.gz", gzip.compress(tone(number)))


def wav_paths(root: Path) -> None:
    for number in NUMBERS:
        write(root / "clips" / f"{number}.wav", tone(number))
    csv(root / "clips.csv", {"file": [f"clips/{number}.wav" for number in NUMBERS], "label": NAMES})


def wav_bytes(root: Path) -> None:
    table = pa.table({"audio": pa.array(map(tone, NUMBERS), pa.binary()), "label": NAMES})
    parquet.write_table(table, root / "clips.parquet")


def wav_structs(root: Path) -> None:
    cells = pa.array([{"bytes": tone(number), "path": f"{number}.wav"} for number in NUMBERS], FILE)
    table = pa.table({"audio": cells, "label": NAMES})
    with pa.ipc.new_stream(root / "clips.arrow", table.schema) as writer:
        writer.write_table(table)


SERIES = (long_csv, npz, npz_channels_first, h5, shuffled_csv, compressed_csv, npy_files, arrow_lists, ts_gz)
SOUND = (wav_folders, wav_gz, wav_paths, wav_bytes, wav_structs)


def random_model(data: Path) -> Perceiver:
    """A model for the data whose weights are all random, so that its answers differ."""
    model = sm.build(plan(data, epochs=1, settings=SMALL).config.model).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.5  # of a size that does not saturate
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return model


def read_by(model: Perceiver, source: Source) -> Mapping[int, tuple[str, torch.Tensor, torch.Tensor]]:
    """By the number of each example: its class, its rows, and what the model answers."""
    found = {}
    for examples in source.splits.values():
        samples = load_samples(examples.for_modality(model.inputs), [model.inputs])
        assert not samples.set_aside
        assert samples.targets is not None
        for index, name in enumerate(samples.names):
            batch = samples.batch([index])
            target = source.classes[int(batch.pop("target"))]
            view = model.inputs.view(batch)
            with torch.no_grad():
                rows, scores = model.inputs.embed(view).dense()[0], model(view).scores[0]
            found[int(re.findall(r"\d+", Path(name).name)[-1])] = (target, rows, scores)
    return found


@pytest.mark.parametrize("containers", [SERIES, SOUND], ids=["series", "sound"])
def test_the_same_rows_and_answers(containers: tuple[Callable[[Path], None], ...], tmp_path: Path) -> None:
    """One model with random weights, planned on the first container, reads all."""
    expected: Mapping[int, tuple[str, torch.Tensor, torch.Tensor]] = {}
    model = None
    for make in containers:
        root = tmp_path / make.__name__
        root.mkdir()
        make(root)
        if model is None:
            model = random_model(root)
            expected = read_by(model, recognise(root))
            assert [name for name, _, _ in (expected[number] for number in NUMBERS)] == NAMES
            assert len({tuple(scores.tolist()) for _, _, scores in expected.values()}) == len(NUMBERS)
        found = read_by(model, recognise(root))
        assert found.keys() == expected.keys(), make.__name__
        for number, (name, rows, scores) in expected.items():
            assert found[number][0] == name, make.__name__
            assert torch.equal(found[number][1], rows), make.__name__
            assert torch.equal(found[number][2], scores), make.__name__


def test_other_signals_have_other_rows(tmp_path: Path) -> None:
    """The test above could fail: with two channels swapped, every row and every answer is another."""
    for name, values in (("one", stacked()["x"]), ("other", stacked()["x"][..., [2, 1, 0]])):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "steps.npz", x=values, y=stacked()["y"])
    model = random_model(tmp_path / "one")
    one, other = (read_by(model, recognise(tmp_path / name)) for name in ("one", "other"))
    for number in NUMBERS:
        assert not torch.equal(one[number][1], other[number][1])
        assert not torch.equal(one[number][2], other[number][2])
