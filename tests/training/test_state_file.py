"""Checkpoints: what is read is bit for bit what was written, or the damage is noticed."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, current_thread, main_thread
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sensorium.errors import InputError
from sensorium.models.tensor_files import TensorWriter
from sensorium.training.state_file import LAST, PREVIOUS, StateWriter, StoredTensor, write_state
from sensorium.training.state_file import read_state as open_state


def read_state(folder: Path) -> Any:
    """The last checkpoint, with all its tensors."""
    return in_memory(open_state(folder))


def in_memory(value: Any) -> Any:
    if isinstance(value, StoredTensor):
        return value.read()
    if isinstance(value, dict):
        return {key: in_memory(item) for key, item in value.items()}
    return type(value)(map(in_memory, value)) if isinstance(value, list | tuple) else value


DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.bool, torch.complex64),
)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any bits in any shape, NaN and empty ones included."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = torch.Size(shape).numel() * dtype.itemsize
    content = draw(st.binary(min_size=count, max_size=count))
    if dtype == torch.bool:
        content = bytes(byte & 1 for byte in content)
    return torch.tensor(list(content), dtype=torch.uint8).view(dtype).reshape(shape)


leaf = st.one_of(
    tensors(), st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.just(-0.0)
)
states = st.dictionaries(
    st.text(max_size=3) | st.integers(0, 9),
    st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(st.integers() | st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def alike(one: Any, other: Any) -> bool:
    """Whether two values are the same, tensors bit for bit, numbers with their sign and type, dicts in their order."""
    if isinstance(one, Tensor):
        same_kind = isinstance(other, Tensor) and (one.dtype, one.shape) == (other.dtype, other.shape)
        return same_kind and bytes_of(one) == bytes_of(other)
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


def bytes_of(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@given(states)
def test_what_is_read_is_what_was_written(state: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        write_state(Path(folder), state)
        assert alike(read_state(Path(folder)), state)


def small() -> dict[str, Any]:
    weight = torch.arange(6.0).reshape(2, 3)
    return {
        "model": {"weight": weight, "tied": weight, "transposed": weight.T, "half": weight[1], "scalar": weight[1, 2]},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0), "moment": torch.ones(3, dtype=torch.bfloat16)}}},
        "generator": torch.Generator().manual_seed(3).get_state(),
        "betas": (0.9, 0.95),
        "best": -float("inf"),
        "steps": 17,
    }


def test_tensors_may_share_memory(tmp_path: Path) -> None:
    """Tied weights, views and transposed ones; what is read shares none."""
    write_state(tmp_path, small())
    found = read_state(tmp_path)
    assert found is not None
    assert alike(found, small())
    found["model"]["tied"].zero_()
    assert alike(found["model"]["weight"], small()["model"]["weight"])


def test_dear_checkpoints_are_written_while_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first shows what they cost; others are copies, of which none overtakes the one before. The last is waited
    for."""
    weight, held = torch.zeros(3), Event()
    write = TensorWriter.write

    def slow(self: TensorWriter, name: str, tensor: Tensor) -> None:
        assert current_thread() is main_thread() or held.wait(60)
        write(self, name, tensor)

    monkeypatch.setattr(TensorWriter, "write", slow)
    with StateWriter(tmp_path) as writer:
        writer.write({"number": 1, "weight": weight}, seconds=0.0)
        weight += 1
        writer.write({"number": 2, "weight": weight}, seconds=0.0)
        weight += 1
        assert read_state(tmp_path)["number"] == 1
        held.set()
        writer.write({"number": 3, "weight": weight}, seconds=0.0, is_last=True)
        assert alike(read_state(tmp_path), {"number": 3, "weight": torch.full((3,), 2.0)})
        (tmp_path / LAST).unlink()
        assert alike(read_state(tmp_path), {"number": 2, "weight": torch.ones(3)})


def test_what_could_not_be_written_meanwhile_is_said_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with StateWriter(tmp_path) as writer:
        writer.write({"weight": torch.zeros(3)}, seconds=0.0)
        monkeypatch.setattr(TensorWriter, "write", full)
        writer.write({"weight": torch.ones(3)}, seconds=0.0)
        with pytest.raises(InputError, match="No space left on device"):
            writer.write({"weight": torch.ones(3)}, seconds=0.0)
    assert alike(read_state(tmp_path), {"weight": torch.zeros(3)})


def test_an_optimizer_goes_on_where_it_was(tmp_path: Path) -> None:
    """Its state, with integer keys, is loaded again; the next steps are the same bit for bit."""

    def after(steps: int, resumed: bool) -> Tensor:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(4))
        optimizer = torch.optim.AdamW([weight], lr=0.1)
        for step in range(steps):
            if resumed and step == 3:
                write_state(tmp_path, {"weight": weight, "optimizer": optimizer.state_dict()})
                found = read_state(tmp_path)
                assert found is not None
                weight = torch.nn.Parameter(found["weight"])
                optimizer = torch.optim.AdamW([weight], lr=0.2)
                optimizer.load_state_dict(found["optimizer"])
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step()
        return weight

    assert torch.equal(after(7, resumed=True), after(7, resumed=False))


def test_no_checkpoint_is_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None


def test_the_checkpoint_before_is_kept(tmp_path: Path) -> None:
    for number in range(4):
        write_state(tmp_path, {"number": number})
    assert read_state(tmp_path) == {"number": 3}
    (tmp_path / LAST).unlink()
    assert read_state(tmp_path) == {"number": 2}


def test_every_truncation_and_every_flipped_byte_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bit of each byte of the file: then the checkpoint before is taken, a line says so, and the damaged one is
    gone."""
    write_state(tmp_path, {"number": 1})
    write_state(tmp_path, {**small(), "generator": torch.ones(9)})
    whole, previous = (tmp_path / LAST).read_bytes(), (tmp_path / PREVIOUS).read_bytes()
    flips = [whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :] for at in range(len(whole))]
    cut = [whole[:length] for length in range(0, len(whole), 41)]
    for damaged in (*flips, *cut, whole + b"\0", b""):
        (tmp_path / LAST).write_bytes(damaged)
        caplog.clear()
        assert read_state(tmp_path) == {"number": 1}
        assert not (tmp_path / LAST).exists()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert str(tmp_path / LAST) in caplog.text
    write_state(tmp_path, {"number": 2})
    assert (tmp_path / PREVIOUS).read_bytes() == previous


def test_a_damaged_file_never_becomes_the_one_that_is_kept(tmp_path: Path) -> None:
    """Whatever comes next, a checkpoint that can be read stays."""
    write_state(tmp_path, {"number": 1})
    write_state(tmp_path, {"number": 2})
    (tmp_path / LAST).write_bytes(b"torn")
    assert read_state(tmp_path) == {"number": 1}
    write_state(tmp_path, {"number": 3})
    (tmp_path / LAST).write_bytes(b"torn")
    assert read_state(tmp_path) == {"number": 1}


def test_if_nothing_can_be_read_a_line_says_so(tmp_path: Path) -> None:
    write_state(tmp_path, {"number": 1})
    (tmp_path / LAST).write_bytes(b"torn")
    with pytest.raises(InputError, match="begins anew with --resume") as caught:
        read_state(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [{1, 2}, object(), {1.5: 0}, {True: 0}, {None: 0}])
def test_what_cannot_be_written_is_refused_at_once(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match="a state cannot"):
        write_state(tmp_path, {"value": value})
    assert not (tmp_path / LAST).exists()


def test_nothing_is_lost_if_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the file is written, or when it is synchronised."""
    write_state(tmp_path, {"number": 1})
    write_state(tmp_path, {"number": 2})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("sensorium.models.tensor_files.TensorWriter.write", "sensorium.files.os.fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(name, full)
            with pytest.raises(InputError, match="No space left on device"):
                write_state(tmp_path, {"number": 3, "weight": torch.ones(3)})
        assert read_state(tmp_path) == {"number": 2}
        assert sorted(path.name for path in (tmp_path / LAST).parent.iterdir()) == [LAST.name, PREVIOUS.name]
