"""Programs that draw a run's curves get its figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sensorium as sm
from sensorium.errors import InputError
from sensorium.training.run_folder import read_history
from small_models import SMALLEST_RUN, signs


@pytest.fixture
def data(tmp_path: Path) -> Path:
    signals, labels = signs(24)
    np.savez(tmp_path / "signs.npz", series=signals.astype(np.float32), label=labels)
    return tmp_path / "signs.npz"


@pytest.mark.slow
def test_tensorboard_and_weights_and_biases_get_the_history(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row of metrics.csv, at its step."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    sm.train(data, out=run, epochs=2, settings=SMALLEST_RUN, log=("tensorboard", "wandb"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    history = read_history(run)
    assert [event.step for event in events.Scalars("loss")] == [int(row["step"]) for row in history]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([row["loss"] for row in history])
    (offline,) = (run / "wandb").glob("offline-run-*")
    assert list(offline.glob("*.wandb"))


def test_nothing_is_written_unasked(data: Path, tmp_path: Path) -> None:
    sm.train(data, out=tmp_path / "run", epochs=1, settings=SMALLEST_RUN)
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert not (tmp_path / "run" / "wandb").exists()


def test_a_program_that_is_not_known_or_not_installed_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a folder is made."""
    monkeypatch.setattr("sensorium.training.logs.find_spec", lambda name: None)
    for log, reason in (("tensorbord", "did you mean 'tensorboard'"), ("wandb", r"pip install 'sensorium\[log\]'")):
        with pytest.raises(InputError, match=reason):
            sm.train(data, out=tmp_path / "run", log=(log,))
    assert not (tmp_path / "run").exists()
