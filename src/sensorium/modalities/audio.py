"""Sound: rows are patches of raw samples or of a log-mel spectrogram (Perceiver §4.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, log, prod
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..codecs import sound
from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError
from ..nn.byte_array import ByteArray, GridPositions, Segment
from ..nn.positions import Spacing, fourier_channels, fourier_grid, grid_positions
from ..nn.stems import GridStem, GridStemConfig
from .base import Batch, Sample, Soundtrack, at_least_float32
from .drawing import draw_sound
from .sequences import cut, lengths, of_present, resample, uniform, whole_rows
from .spectrogram import log_mels, mel_filters
from .windows import Windowed

HIGHEST_RATE = 24_000  # the last octave of 44.1 kHz costs twice the decoding time and fills two of 64 mels
MOST_CHANNELS = 8  # of an array of sound; with more it holds many clips
LONGEST_SECONDS = 10  # AudioSet's clip
CREST = 4.0  # of raw samples: the amplitude that counts as 1, in units of their root mean square
MOST_CLIPS = 16  # over which evaluation averages, as in the paper
SHORT_SHIFT = 0.2  # a clip shorter than the window is a whole event: it moves by only this share of `shift`


@record
class AudioConfig:
    """How sound becomes rows.

    Attributes:
        rate: samples a second; every file is resampled to it.
        samples: the length of the window that the model sees; longer clips are cut, shorter ones padded and masked.
        channels: of the sound; 1 mixes all channels of a file to mono.
        representation: the samples themselves (``raw``), or the logarithm of their mel spectrogram (``mel``).
        patch: (steps of time, mels) of a row; in the paper (1, 1) of spectrograms and (128, 1) of raw sound.
        stem: convolutions that turn sound into rows, instead of patches; None: patches.
        mels: bands of the spectrogram, from 0 to half the rate.
        window: samples of one spectrum.
        hop: samples from one spectrum to the next.
        mean, std: of the log-mel spectrogram, for normalisation.
        amplitude: by which raw samples are divided, so that attention finds loud rows (docs/decisions/0014).
        bands: number of Fourier frequencies along each axis.
        resolution: twice the highest Fourier frequency, along time (and mels); None: the number of rows along them.
        clips: evaluation averages the predictions of this many overlapping windows of a clip longer than the window.
        gain: training makes clips louder or softer by up to this many decibels.
        shift: training shifts clips that fill the window by up to this share of their length, in a circle.
        speed: training makes spectrograms faster or slower by up to this share.
        pitch: training stretches or shrinks the mel axis by up to this share.
        blank: training blanks out a band of time and a band of mels, each of up to this share (SpecAugment).
    """

    kind: Literal["audio"] = "audio"
    rate: int = 16_000
    samples: int = 80_000
    channels: int = 1
    representation: Literal["raw", "mel"] = "mel"
    patch: tuple[int, int] = (2, 64)
    stem: GridStemConfig | None = None
    mels: int = 64
    window: int = 400
    hop: int = 160
    mean: float = -5.0
    std: float = 3.0
    amplitude: float = 1.0
    bands: int = 16
    resolution: tuple[float, ...] | None = None
    clips: int = 4
    gain: float = 6.0
    shift: float = 0.25
    speed: float = 0.15
    pitch: float = 0.05
    blank: float = 0.2

    @property
    def height(self) -> int:
        """Numbers in a step of time: the mels, or 1 for raw samples."""
        return self.mels if self.representation == "mel" else 1

    @property
    def steps(self) -> int:
        """Steps of time in the window: spectra, or samples."""
        return 1 + self.samples // self.hop if self.representation == "mel" else self.samples

    @property
    def area(self) -> tuple[int, int]:
        """The steps of time and the mels that a row covers."""
        return self.patch if self.stem is None else (self.stem.patch[0], prod(self.stem.patch[1:]))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows along time and along the mels."""
        return ceil(self.steps / self.area[0]), self.height // self.area[1]

    @property
    def num_rows(self) -> int:
        return prod(self.grid)

    @property
    def elements_per_row(self) -> int:
        return prod(self.area)

    @property
    def position_channels(self) -> int:
        return fourier_channels(2 if self.representation == "mel" else 1, self.bands)

    @property
    def value_channels(self) -> int:
        return self.elements_per_row * self.channels

    @property
    def row_channels(self) -> int:
        return (self.value_channels if self.stem is None else self.stem.channels) + self.position_channels


class Audio(Windowed[AudioConfig]):
    """Sound as rows of samples or of spectrogram patches, time first, with Fourier features of (time[, frequency]).

    Batch keys: ``audio``, float, batch × spectra × mels × channels (the log-mel spectrogram) or, raw, batch × samples ×
    channels; ``audio.mask``, batch × spectra or samples, where clips differ in length. ``view`` also takes a plain
    waveform at the configured rate, batch × samples [× channels], for either.

    ``audio.start``, batch, in seconds: where a batch has it (and it is not NaN), ``view`` and ``augment`` take the
    window that begins there (or the last whole window, if that begins earlier), and ``augment`` does not shift it: so
    sound keeps step with pictures.

    The spectrogram is computed once, in ``load``. To vary the gain is then a sum, and to vary shift, speed and pitch is
    to resample it.

    >>> audio = Audio(AudioConfig(rate=8000, samples=8000, window=200, hop=80))
    >>> audio.embed(audio.view({"audio": torch.zeros(2, 8000)})).dense().shape
    torch.Size([2, 51, 194])
    """

    kind: ClassVar[str] = "audio"
    suffixes: ClassVar[tuple[str, ...]] = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aif", ".aiff", ".au", ".m4a")
    ragged: ClassVar[bool] = True
    follows_in_time: ClassVar[bool] = True
    positions0: Tensor
    positions1: Tensor

    def __init__(self, config: AudioConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if config.height % config.area[1]:
            raise InputError(f"{self.name}: {config.height} mels are not whole patches of {config.area[1]}")
        self.flat = config.representation == "raw"
        shape = config.grid[:1] if self.flat else config.grid
        for axis, table in enumerate(fourier_grid(shape, bands=config.bands, resolution=config.resolution).tables):
            self.register_buffer(f"positions{axis}", table, persistent=False)
        self.stem = None if config.stem is None else GridStem(config.stem, channels=config.channels)
        self.filters = mel_filters(config.rate, 2 ** (config.window - 1).bit_length(), config.mels)

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> AudioConfig:
        """Sizes and statistics of these clips; films without sound do not count.

        Sound is mono, as log-mel spectra of 25 ms every 10 ms. The rate is the most common one, divided by a whole
        number so that it is at most 24 kHz. The window holds 95 % of the clips, up to 10 seconds, as a whole; over
        longer ones evaluation averages windows that overlap by half. A row holds whole spectra, about 256 rows at most.

        Raises:
            Absent: there is no sound in any clip.
            InputError: a clip cannot be decoded.
        """
        clips = of_present(lambda raw: sound.decode(raw, rate=AudioConfig.rate), raws[:: max(1, len(raws) // 64)])
        usual = Counter(rate for _, rate in clips).most_common(1)[0][0]
        rate = usual // ceil(usual / HIGHEST_RATE)
        seconds = float(np.quantile([len(wave) / rate for wave, rate in clips], 0.95))
        samples = max(1, round(min(seconds, LONGEST_SECONDS) * rate))
        window, hop = max(1, round(0.025 * rate)), max(1, round(0.010 * rate))
        # A row of whole spectra: a quarter of the rows that patches of 16 mels need, and more accurate on spoken digits
        # (docs/decisions/0003).
        patch = (max(1, round(samples / hop / 256)), AudioConfig.mels)
        config = AudioConfig(rate=rate, samples=samples, window=window, hop=hop, patch=patch)
        amplitude = float(np.sqrt(np.mean([np.square(wave, dtype=np.float64).mean() for wave, _ in clips])))
        config = replace(cls.with_statistics(config, clips), amplitude=max(round(CREST * amplitude, 4), 0.001))
        return replace(config, clips=min(MOST_CLIPS, max(1, ceil(2 * seconds / LONGEST_SECONDS) - 1)))

    @classmethod
    def with_statistics(cls, config: AudioConfig, raws: Sequence[Raw]) -> AudioConfig:
        """Mean and standard deviation of the log-mel spectra of these clips; raw samples are taken as they are."""
        if config.representation == "raw":
            return config
        spectra = of_present(cls(config, name="audio").load, raws[:: max(1, len(raws) // 64)])
        mels = np.concatenate([sample["audio"].ravel() for sample in spectra]).astype(np.float32)
        return replace(config, mean=round(float(mels.mean()), 4), std=max(round(float(mels.std()), 4), 0.01))

    def load(self, raw: Raw) -> Sample:
        """One whole clip. Integers are scaled to [-1, 1], and the sound of a film starts when its pictures start.

        Args:
            raw: a path, the bytes of a file, an array (samples [× channels]) at the configured rate, or a pair of an
                array and its rate.

        Returns:
            float16: spectra × mels × channels, or samples × channels.

        Raises:
            Absent: a film without sound.
            InputError: not a sound file, no sound in it, no samples, NaN or infinite samples, wrong channel count.
        """
        wave, rate = sound.decode(raw, rate=self.config.rate)
        if self.config.channels == 1:
            wave = wave.mean(1, keepdims=True)
        elif wave.shape[1] == 1:
            wave = wave.repeat(self.config.channels, 1)
        elif wave.shape[1] != self.config.channels:
            raise InputError(f"{wave.shape[1]} channels, the model reads {self.config.channels}; convert the file")
        wave = sound.at_rate(wave, rate, self.config.rate)
        if not self.flat:
            wave = self.spectrogram(torch.from_numpy(np.ascontiguousarray(wave))[None])[0].numpy()
        return {self.name: wave.astype(np.float16)}

    def spectrogram(self, wave: Tensor) -> Tensor:
        """The log-mel spectrogram of batch × samples × channels: batch × spectra × mels × channels."""
        return log_mels(wave, self.filters, window=self.config.window, hop=self.config.hop)

    def is_example(self, shape: tuple[int, ...]) -> bool:
        """Samples, or samples × a few channels: a file of one channel may be a mean of several."""
        return len(shape) == 1 or (len(shape) == 2 and shape[1] <= MOST_CHANNELS < shape[0])

    # -- from batches -------------------------------------------------------------------------------------------

    @property
    def num_views(self) -> int:
        return self.config.clips

    @property
    def window_steps(self) -> int:
        return self.config.steps

    def cut_from(self, batch: Batch, start: Tensor) -> dict[str, Tensor]:
        return cut(batch, self.name, self._start(batch, start).long(), self.config.steps)

    def whole(self, batch: Batch) -> Batch:
        """The batch, in which a plain waveform gets its axis of channels and, if need be, becomes spectra."""
        signal = batch[self.name] if batch[self.name].ndim > 2 else batch[self.name][..., None]
        return {**batch, self.name: signal if self.flat or signal.ndim == 4 else self.spectrogram(signal)}

    @property
    def view_lengths(self) -> range:
        return whole_rows(self.config.steps, self.config.area[0])

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """A random window or shift, and gain; of spectrograms also speed, pitch, and blank bands of time and mels."""
        batch = self.whole(batch)
        length = lengths(batch, self.name)
        signal = batch[self.name]
        size, steps = min(signal.shape[1], self.config.steps), self.config.steps

        def random(low: float, high: float) -> Tensor:
            return uniform(signal, (len(signal), 1), low, high, generator)

        def band(size: int, inside: Tensor | int) -> Tensor:
            width = random(0, self.config.blank) * inside
            begin = random(0, 1) * (inside - width)
            middle = torch.arange(size, device=signal.device) + 0.5
            return (middle > begin) & (middle < begin + width)

        # The window of a longer clip starts anywhere; a clip that fits is shifted in a circle.
        longer = (length - steps)[:, None]
        shift = torch.where(length[:, None] < 0.9 * steps, SHORT_SHIFT, 1.0) * self.config.shift * length[:, None]
        start = torch.where(longer > 0, longer * random(0, 1), shift * random(-1, 1))
        start = self._start(batch, start[:, 0])[:, None]
        gain = random(-self.config.gain, self.config.gain)  # decibels
        if self.flat:
            moments = (start.round() + torch.arange(size, device=signal.device)) % length[:, None]
            row = torch.arange(len(signal), device=signal.device)[:, None]
            result = cut(batch, self.name, (length - steps).clamp(min=0), size)
            return {**result, self.name: signal[row, moments.long()] * 10 ** (gain / 20)[..., None]}

        speed = 1 + random(-self.config.speed, self.config.speed)
        moments = (start + speed * torch.arange(size, device=signal.device)) % length[:, None]
        moments = moments.minimum(length[:, None] - 1)  # the spectra after the last one may be padding
        signal = resample(signal.float(), moments)
        pitch = 1 + random(-self.config.pitch, self.config.pitch)
        mels = pitch * torch.arange(self.config.mels, device=signal.device)
        signal = resample(signal.transpose(1, 2), mels).transpose(1, 2) + log(10) / 10 * gain[..., None, None]
        inside = torch.minimum(length, torch.full_like(length, size))[:, None]
        blank = band(size, inside)[:, :, None] | band(self.config.mels, self.config.mels)[:, None]
        result = {**batch, self.name: signal.masked_fill(blank[..., None], self.config.mean)}
        if f"{self.name}.mask" in batch:
            result[f"{self.name}.mask"] = torch.arange(size, device=signal.device) < length[:, None] / speed
        return result

    def embed(self, batch: Batch) -> ByteArray:
        """Rows in order of time, then of mels. Rows that are wholly padding are masked."""
        signal = self._normalised(batch)
        stem = self.stem
        values = self.patchify(signal) if stem is None else stem(signal, self.seen(batch, signal.shape[:-1]))[0]
        return ByteArray((replace(self.query_segment(batch), values=values),))

    def _normalised(self, batch: Batch) -> Tensor:
        """Spectra of mean 0 and variance 1, or samples; zeros in padding."""
        signal, mask = at_least_float32(batch[self.name]), batch.get(f"{self.name}.mask")
        mean, std = (0.0, self.config.amplitude) if self.flat else (self.config.mean, self.config.std)
        signal = (signal - mean) / std
        return signal if mask is None else signal * mask.view(*mask.shape, *[1] * (signal.ndim - 2))

    def _start(self, batch: Batch, start: Tensor) -> Tensor:
        """The step at which each window starts: ``audio.start``, or else ``start`` (batch,)."""
        seconds = batch.get(f"{self.name}.start")
        if seconds is None:
            return start
        step = (seconds * self.config.rate / (1 if self.flat else self.config.hop)).round().clamp(min=0)
        return torch.where(seconds.isnan(), start.to(step), step.minimum(self.spare(batch)))

    # -- rows and signal ----------------------------------------------------------------------------------------

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × steps [× mels] × k as batch × rows × (elements · k), silence after the last step."""
        if self.flat:
            signal = signal[:, :, None]
        steps, mels = self.config.area
        signal = F.pad(signal, (0, 0, 0, 0, 0, -signal.shape[1] % steps))
        cells = signal.unflatten(1, (-1, steps)).unflatten(3, (-1, mels))  # batch × time × steps × up × mels × k
        return cells.movedim(3, 2).flatten(3).flatten(1, 2)

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × steps [× mels] × k."""
        (steps, mels), up = self.config.area, self.config.grid[1]
        signal = rearrange(
            rows, "batch (time up) (steps mels k) -> batch (time steps) (up mels) k", up=up, steps=steps, mels=mels
        )
        signal = signal[:, : batch[self.name].shape[1]]
        return signal[:, :, 0] if self.flat else signal

    # -- predicted ----------------------------------------------------------------------------------------------

    @property
    def value_range(self) -> float | None:
        """Samples are in [-1, 1]; spectra have no range."""
        return 2.0 if self.flat else None

    def elementwise(self) -> Audio:
        return Audio(replace(self.config, stem=None, patch=(1, 1)), name=self.name)

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        signal, mask = batch[self.name], batch.get(f"{self.name}.mask")
        if mask is not None:
            mask = F.pad(mask, (0, -mask.shape[1] % self.config.area[0])).unflatten(1, (-1, self.config.area[0]))
            mask = mask.any(2).repeat_interleave(self.config.grid[1], dim=1)
        first, *others = self._positions(spacing).tables
        positions = GridPositions((first[: -(-signal.shape[1] // self.config.area[0])], *others))
        no_values = self.positions0.new_zeros(signal.shape[0], prod(positions.shape), 0)
        return Segment(self.name, no_values, positions, mask=mask)

    def targets(self, batch: Batch) -> Tensor:
        """The normalised patches, whatever a stem makes of them."""
        return self.patchify(self._normalised(batch))

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × steps [× mels] × channels: samples in [-1, 1], or the logarithm of mels."""
        signal = self.unpatchify(rows, batch)
        return (
            (signal * self.config.amplitude).clamp(-1, 1) if self.flat else signal * self.config.std + self.config.mean
        )

    def _positions(self, spacing: Spacing) -> GridPositions:
        if spacing == "linspace":
            return GridPositions((self.positions0,) if self.flat else (self.positions0, self.positions1))
        shape = self.config.grid[:1] if self.flat else self.config.grid
        resolution = self.config.resolution or tuple(float(size) for size in shape)
        return grid_positions(shape, self.config.bands, resolution, self.positions0.device, spacing)

    def save(self, signal: Tensor, stem: Path) -> list[Path]:
        """Write a .wav; spectra, which cannot be turned back into sound, as a .npz array."""
        if not self.flat:
            return super().save(signal, stem)
        path = stem.with_name(f"{stem.name}.wav")
        sound.encode_file(signal.float().cpu().numpy(), path, rate=self.config.rate)
        return [path]

    def soundtrack(self, signal: Tensor) -> Soundtrack | None:
        return Soundtrack(signal, self.config.rate) if self.flat else None

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, attention: Tensor | None = None) -> None:
        """The waveform, or the spectrogram with time to the right and low tones at the bottom, of the first channel."""
        length = int(lengths(batch, self.name)[index])
        signal = batch[self.name][index, :length].float().cpu()[..., 0]
        seconds = length * (1 if self.flat else self.config.hop) / self.config.rate
        map_ = None if attention is None else attention[:length, ..., 0].reshape(length, -1).float().cpu().numpy()
        draw_sound(axes, signal.numpy(), map_, seconds=seconds)
