"""EDF and BDF recordings."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyedflib
import pytest

from sensorium.codecs.recordings import decode_edf
from sensorium.errors import InputError

CHANNELS = (("Fp1", 100), ("Fp1", 100), ("resp", 25))
SECONDS = 3


def write(path: Path) -> list[np.ndarray]:
    """Two channels of one name and rate, a slow ramp, and an annotation."""
    kind = pyedflib.FILETYPE_BDFPLUS if path.suffix == ".bdf" else pyedflib.FILETYPE_EDFPLUS
    signals = [np.sin(np.arange(SECONDS * 100)), np.cos(np.arange(SECONDS * 100)), np.arange(SECONDS * 25.0)]
    with pyedflib.EdfWriter(str(path), len(CHANNELS), file_type=kind) as file:
        for index, (name, rate) in enumerate(CHANNELS):
            header = {"label": name, "dimension": "uV", "sample_frequency": rate, "transducer": "", "prefilter": ""}
            limits = {"physical_max": 100, "physical_min": -100, "digital_max": 32767, "digital_min": -32768}
            file.setSignalHeader(index, {**header, **limits})
        file.writeSamples(signals)
        file.writeAnnotation(0.5, -1, "seizure")
    return signals


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_channels_of_several_rates(tmp_path: Path, suffix: str) -> None:
    """The commonest rate is that of the result; what is slower is interpolated; annotations are no channel."""
    path = tmp_path / f"a{suffix}"
    sine, cosine, ramp = write(path)
    recording = decode_edf(path)
    assert (recording.channels, recording.rate) == (("Fp1", "Fp1 2", "resp"), 100.0)
    assert recording.values.dtype == np.float32
    np.testing.assert_allclose(recording.values[:, 0], sine, atol=0.01)
    np.testing.assert_allclose(recording.values[:, 1], cosine, atol=0.01)
    np.testing.assert_allclose(recording.values[::4, 2], ramp, atol=0.01)
    np.testing.assert_allclose(recording.values[2:280:4, 2], ramp[:70] + 0.5, atol=0.01)
    for same in (path.read_bytes(), gzip.compress(path.read_bytes())):
        assert np.array_equal(decode_edf(same).values, recording.values)


def test_bad_recordings(tmp_path: Path) -> None:
    write(tmp_path / "a.edf")
    content = (tmp_path / "a.edf").read_bytes()
    for bad in (b"nothing like it", content[:400], content[:-2000]):
        with pytest.raises(InputError, match="the recording cannot be read") as caught:
            decode_edf(bad)
        assert "tmp" not in str(caught.value)
    with pytest.raises(InputError, match="the file is empty"):
        decode_edf(b"")
    with pytest.raises(InputError, match="cannot be read"):
        decode_edf(tmp_path / "nowhere.edf")
