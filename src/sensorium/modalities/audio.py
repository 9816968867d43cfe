"""Sound: raw samples or a log-mel spectrogram (Perceiver §4.2)."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, gcd, log
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Size, Tensor

from ..codecs.raw import Raw, file_bytes
from ..config import record
from ..errors import Absent, InputError
from ..nn.byte_array import ByteArray, GridPositions, Segment
from ..nn.positions import Spacing, fourier_channels, fourier_grid
from .base import Batch, Modality, Sample, at_least_float32, of_present
from .sequences import cut, lengths, resample, uniform

HIGHEST_RATE = 24_000  # the last octave of 44.1 kHz costs twice the reading time and two of 64 mels
LONGEST_SECONDS = 10  # AudioSet's clip
FLOOR = 1e-6  # power below which all is silence
LOUDEST = 65_000.0  # what float16 holds; sound is in [-1, 1]
LATEST = 600  # seconds after the pictures; broken time stamps would fill the memory with silence
SHORT_SHIFT = 0.2  # a clip shorter than the window is a whole event, already in place: it moves this much of `shift`


@record
class AudioConfig:
    """How sound becomes rows.

    Attributes:
        rate: samples a second; every file is resampled to it.
        samples: the length of the model's window; longer clips are cut, shorter ones padded and masked.
        channels: 1 mixes everything to mono.
        representation: the samples themselves, or the logarithm of their mel spectrogram.
        patch: what a row covers: (steps of time, mels); (1, 1) is the paper's flattened spectrogram and (128, 1) its
            480 rows of 61,440 raw samples.
        mels: bands of the spectrogram, up to half the rate.
        window: samples of one spectrum.
        hop: samples from one spectrum to the next.
        mean: of the log-mel spectrogram, for normalisation; raw samples are in [-1, 1] as they are.
        std: of the log-mel spectrogram.
        bands: Fourier bands an axis.
        resolution: twice the highest frequency of each axis, (time,) or (time, mels); the rows themselves when None.
        gain: training makes clips louder or softer by up to this many decibels.
        shift: training moves clips that fill the window by up to this share of their length, round in a circle.
        speed: training makes spectrograms faster or slower by up to this share.
        pitch: training makes the mel axis wider or narrower by up to this share.
        blank: training blanks out a band of time and one of mels of up to this share (SpecAugment).
    """

    kind: Literal["audio"] = "audio"
    rate: int = 16_000
    samples: int = 80_000
    channels: int = 1
    representation: Literal["raw", "mel"] = "mel"
    patch: tuple[int, int] = (2, 64)
    mels: int = 64
    window: int = 400
    hop: int = 160
    mean: float = -5.0
    std: float = 3.0
    bands: int = 16
    resolution: tuple[float, ...] | None = None
    gain: float = 6.0
    shift: float = 0.25
    speed: float = 0.15
    pitch: float = 0.05
    blank: float = 0.2

    @property
    def height(self) -> int:
        """Numbers a step of time: mels, or 1 for raw samples."""
        return self.mels if self.representation == "mel" else 1

    @property
    def steps(self) -> int:
        """Steps of time in the window: spectra, or samples."""
        return 1 + self.samples // self.hop if self.representation == "mel" else self.samples

    @property
    def grid(self) -> tuple[int, int]:
        """Rows along time and along the mels."""
        return ceil(self.steps / self.patch[0]), self.height // self.patch[1]


class Audio(Modality):
    """Sound as rows of samples or of spectrogram patches, time first, with Fourier features of (time[, frequency]).

    Batch keys: ``audio``, float, batch × spectra × mels × channels (the log-mel spectrogram) or, raw, batch × samples ×
    channels; ``audio.mask``, batch × spectra or samples, where clips differ in length. ``view`` also takes a plain
    waveform at the configured rate, batch × samples [× channels], for either.

    ``audio.start``, batch, in seconds: where it is given (and not NaN), ``view`` and ``augment`` take the window that
    begins there (the last whole one, if it is later), and ``augment`` does not shift it: it keeps step with pictures.

    The spectrogram is made once, in ``load``: then gain is a sum, and shift, speed and pitch are readings of it.

    >>> audio = Audio(AudioConfig(rate=8000, samples=8000, window=200, hop=80))
    >>> audio.embed(audio.view({"audio": torch.zeros(2, 8000)})).dense().shape
    torch.Size([2, 51, 194])
    """

    kind: ClassVar[str] = "audio"
    suffixes: ClassVar[tuple[str, ...]] = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aif", ".aiff", ".au", ".m4a")
    ragged: ClassVar[bool] = True
    config: AudioConfig
    positions0: Tensor
    positions1: Tensor

    def __init__(self, config: AudioConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if config.height % config.patch[1]:
            raise InputError(f"{self.name}: {config.height} mels are not whole patches of {config.patch[1]}")
        self.flat = config.representation == "raw"
        shape = config.grid[:1] if self.flat else config.grid
        for axis, table in enumerate(fourier_grid(shape, bands=config.bands, resolution=config.resolution).tables):
            self.register_buffer(f"positions{axis}", table, persistent=False)
        self.fft = 2 ** (config.window - 1).bit_length()
        self.filters = mel_filters(config.rate, self.fft, config.mels)

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> AudioConfig:
        """Mono log-mel with 25 ms spectra every 10 ms; the commonest rate, halved (thirded, …) until at most 24 kHz;
        a window that holds 95 % of the clips whole, up to 10 s; rows of whole spectra, about 256 of them at most.
        Films without sound do not count.

        Raises:
            Absent: there is no sound in any.
            InputError: a clip cannot be read.
        """
        clips = of_present(decode, (raws[i] for i in range(0, len(raws), max(1, len(raws) // 64))))
        common = Counter(rate for _, rate in clips).most_common(1)[0][0]
        rate = common // ceil(common / HIGHEST_RATE)
        seconds = float(np.quantile([len(wave) / rate for wave, rate in clips], 0.95))
        samples = max(1, round(min(seconds, LONGEST_SECONDS) * rate))
        window, hop = max(1, round(0.025 * rate)), max(1, round(0.010 * rate))
        # Whole spectra a row: a quarter of the rows that patches of 16 mels need, and more accurate on spoken digits
        # (docs/decisions/0003).
        patch = (max(1, round(samples / hop / 256)), AudioConfig.mels)
        config = AudioConfig(rate=rate, samples=samples, window=window, hop=hop, patch=patch)
        reader = cls(config)
        mels = np.concatenate([reader.load(clip)["audio"].ravel() for clip in clips]).astype(np.float32)
        return replace(config, mean=round(float(mels.mean()), 4), std=max(round(float(mels.std()), 4), 0.01))

    def load(self, raw: Raw) -> Sample:
        """One clip, whole: a path, the bytes of a file, an array (samples [× channels]) at the configured rate, or an
        (array, rate) pair; integers are scaled to [-1, 1]. The sound of a film starts when its pictures start.

        Returns:
            float16: spectra × mels × channels, or samples × channels.

        Raises:
            Absent: a film without sound.
            InputError: not a sound file, no sound in it, no samples, NaN or infinite samples, wrong channel count.
        """
        wave, rate = decode(raw, self.config.rate)
        if self.config.channels == 1:
            wave = wave.mean(1, keepdims=True)
        elif wave.shape[1] == 1:
            wave = wave.repeat(self.config.channels, 1)
        elif wave.shape[1] != self.config.channels:
            raise InputError(f"{wave.shape[1]} channels, the model hears {self.config.channels}; convert the file")
        if rate != self.config.rate:
            from scipy.signal import resample_poly

            common = gcd(rate, self.config.rate)
            wave = resample_poly(wave, self.config.rate // common, rate // common, axis=0).astype(np.float32)
        if not self.flat:
            wave = self.spectrogram(torch.from_numpy(np.ascontiguousarray(wave))[None])[0].numpy()
        return {self.name: wave.astype(np.float16)}

    def spectrogram(self, wave: Tensor) -> Tensor:
        """The natural logarithm of the mel spectrogram, as librosa's (Slaney scale and norm, power, centred spectra).

        Args:
            wave: batch × samples × channels, float.

        Returns:
            batch × spectra × mels × channels, with 1 + samples // hop spectra.
        """
        window = torch.hann_window(self.config.window, device=wave.device)
        flat = wave.float().transpose(1, 2).flatten(0, 1)
        spectra = torch.stft(
            flat, self.fft, self.config.hop, self.config.window, window, pad_mode="constant", return_complex=True
        )
        mels = spectra.abs().square().transpose(1, 2) @ self.filters.to(wave.device)
        return (mels + FLOOR).log().unflatten(0, (-1, wave.shape[2])).permute(0, 2, 3, 1)

    # -- from batches -------------------------------------------------------------------------------------------

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """The centre window of longer clips, or that at ``audio.start``."""
        batch = self._batch(batch)
        spare = (lengths(batch, self.name) - self.config.steps).clamp(min=0)
        return cut(batch, self.name, self._start(batch, spare // 2).long(), self.config.steps)

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """A random window or shift, and gain; for mels also speed, pitch, and blanked bands of time and frequency."""
        batch = self._batch(batch)
        length = lengths(batch, self.name)
        signal = batch[self.name]
        size, steps = min(signal.shape[1], self.config.steps), self.config.steps

        def random(low: float, high: float) -> Tensor:
            return uniform(signal, (len(signal), 1), low, high, generator)

        def band(size: int, inside: Tensor | int) -> Tensor:
            width = random(0, self.config.blank) * inside
            begin = random(0, 1) * (inside - width)
            place = torch.arange(size, device=signal.device) + 0.5
            return (place > begin) & (place < begin + width)

        # A longer clip starts anywhere; one that fits goes round in a circle.
        spare = (length - steps)[:, None]
        shift = torch.where(length[:, None] < 0.9 * steps, SHORT_SHIFT, 1.0) * self.config.shift * length[:, None]
        start = torch.where(spare > 0, spare * random(0, 1), shift * random(-1, 1))
        start = self._start(batch, start[:, 0])[:, None]
        gain = random(-self.config.gain, self.config.gain)  # decibels
        if self.flat:
            moments = (start.round() + torch.arange(size, device=signal.device)) % length[:, None]
            row = torch.arange(len(signal), device=signal.device)[:, None]
            result = cut(batch, self.name, (length - steps).clamp(min=0), size)
            return {**result, self.name: signal[row, moments.long()] * 10 ** (gain / 20)[..., None]}

        speed = 1 + random(-self.config.speed, self.config.speed)
        moments = (start + speed * torch.arange(size, device=signal.device)) % length[:, None]
        moments = moments.minimum(length[:, None] - 1)  # what follows the last spectrum may be padding
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
        """Rows in time; the rows of one time go up the mels. Rows wholly in padding are masked."""
        signal, mask = at_least_float32(batch[self.name]), batch.get(f"{self.name}.mask")
        if not self.flat:
            signal = (signal - self.config.mean) / self.config.std
        if mask is not None:
            signal = signal * mask.view(*mask.shape, *[1] * (signal.ndim - 2))
        return ByteArray((replace(self.query_segment(batch), values=self.patchify(signal)),))

    def _start(self, batch: Batch, start: Tensor) -> Tensor:
        """At which step each window starts: where the batch says, else at ``start`` (batch,)."""
        given = batch.get(f"{self.name}.start")
        if given is None:
            return start
        spare = (lengths(batch, self.name) - self.config.steps).clamp(min=0)
        told = (given * self.config.rate / (1 if self.flat else self.config.hop)).round().clamp(min=0).minimum(spare)
        return torch.where(given.isnan(), start.to(told), told)

    def _batch(self, batch: Batch) -> Batch:
        """The batch with its signal in full: waveforms get their channel axis, and their spectrogram if need be."""
        signal = batch[self.name]
        if signal.ndim == 2:
            signal = signal[..., None]
        if signal.ndim == 3 and not self.flat:
            signal = self.spectrogram(signal)
        return {**batch, self.name: signal}

    # -- rows and signal ----------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        return self.elements_per_row * self.config.channels + fourier_channels(1 if self.flat else 2, self.config.bands)

    @property
    def num_rows(self) -> int:
        return self.config.grid[0] * self.config.grid[1]

    @property
    def elements_per_row(self) -> int:
        return self.config.patch[0] * self.config.patch[1]

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × steps [× mels] × k as batch × rows × (elements · k), silence after the last step."""
        if self.flat:
            signal = signal[:, :, None]
        (steps, mels), (_, height) = self.config.patch, self.config.grid
        signal = F.pad(signal, (0, 0, 0, 0, 0, -signal.shape[1] % steps))
        cells = signal.unflatten(2, (height, mels)).unflatten(1, (-1, steps))  # batch, time, steps, height, mels, k
        return cells.transpose(2, 3).flatten(3).flatten(1, 2)

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × steps [× mels] × k."""
        (steps, mels), (_, height) = self.config.patch, self.config.grid
        cells = rows.unflatten(2, (steps, mels, -1)).unflatten(1, (-1, height)).transpose(2, 3)
        signal = cells.flatten(3, 4).flatten(1, 2)[:, : batch[self.name].shape[1]]
        return signal[:, :, 0] if self.flat else signal

    # -- as an answer -------------------------------------------------------------------------------------------

    @property
    def position_channels(self) -> int:
        return fourier_channels(1 if self.flat else 2, self.config.bands)

    @property
    def value_range(self) -> float | None:
        """Samples are in [-1, 1]; spectra have no range."""
        return 2.0 if self.flat else None

    def elementwise(self) -> Audio:
        return Audio(replace(self.config, patch=(1, 1)), name=self.name)

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        signal, mask = batch[self.name], batch.get(f"{self.name}.mask")
        if mask is not None:
            mask = F.pad(mask, (0, -mask.shape[1] % self.config.patch[0])).unflatten(1, (-1, self.config.patch[0]))
            mask = mask.any(2).repeat_interleave(self.config.grid[1], dim=1)
        first, *others = self._positions(spacing).tables
        positions = GridPositions((first[: ceil(signal.shape[1] / self.config.patch[0])], *others))
        nothing = self.positions0.new_zeros(len(signal), Size(positions.shape).numel(), 0)
        return Segment(self.name, nothing, positions, mask=mask)

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × steps [× mels] × channels: samples in [-1, 1], or the logarithm of mels."""
        signal = self.unpatchify(rows, batch)
        return signal.clamp(-1, 1) if self.flat else signal * self.config.std + self.config.mean

    def _positions(self, spacing: Spacing) -> GridPositions:
        if spacing == "linspace":
            return GridPositions((self.positions0,) if self.flat else (self.positions0, self.positions1))
        shape = self.config.grid[:1] if self.flat else self.config.grid
        positions = fourier_grid(shape, bands=self.config.bands, resolution=self.config.resolution, spacing=spacing)
        return GridPositions(tuple(table.to(self.positions0.device) for table in positions.tables))

    def save(self, signal: Tensor, stem: Path) -> Path:
        """A .wav; spectra, from which no sound can be had, as any signal."""
        if not self.flat:
            return super().save(signal, stem)
        import soundfile

        path = stem.with_name(f"{stem.name}.wav")
        soundfile.write(path, signal.float().cpu().numpy(), self.config.rate)
        return path

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, heat: Tensor | None = None) -> None:
        """The waveform, or the spectrogram with time to the right and low tones at the bottom, of the first channel."""
        length = int(lengths(batch, self.name)[index])
        signal = batch[self.name][index, :length].float().cpu()[..., 0]
        seconds = length * (1 if self.flat else self.config.hop) / self.config.rate
        axes.set_xlabel("seconds")
        if self.flat:
            axes.plot(np.linspace(0, seconds, length), signal, color="0.2", linewidth=0.5)
            axes.set_xlim(0, seconds)
            low, high = axes.get_ylim()
        else:
            low, high = 0, self.config.mels
            axes.imshow(signal.T, origin="lower", aspect="auto", extent=(0, seconds, low, high), cmap="gray_r")
            axes.set_ylabel("mels")
        if heat is not None:
            image = heat[:length, ..., 0].reshape(length, -1).float().cpu().T
            extent = (0, seconds, low, high)
            axes.imshow(
                image, origin="lower", aspect="auto", extent=extent, cmap="Reds", alpha=0.7 * image, vmin=0, vmax=1
            )


def decode(raw: Raw, rate: int = AudioConfig.rate) -> tuple[np.ndarray, int]:
    """A clip as float32, samples × channels, and its rate (``rate`` for a bare array).

    Raises:
        InputError: as :meth:`Audio.load`.
    """
    if isinstance(raw, np.ndarray):
        wave = raw
    elif isinstance(raw, str | bytes | Path):
        wave, rate = _decode_file(raw)
    else:
        wave, rate = np.asarray(cast(Any, raw)[0]), int(cast(Any, raw)[1])
    if wave.ndim not in (1, 2) or wave.dtype.kind not in "iuf":
        raise InputError(f"an array of shape {wave.shape} of {wave.dtype} is not sound; give samples [× channels]")
    if wave.size == 0:
        raise InputError("there are no samples in it; remove it")
    if np.issubdtype(wave.dtype, np.integer):
        low, high = float(np.iinfo(wave.dtype).min), float(np.iinfo(wave.dtype).max)
        wave = (2 * wave.astype(np.float64) - (low + high + 1)) / (high - low + 1)
    wave = wave.astype(np.float32).reshape(len(wave), -1)
    if not (np.abs(wave) < LOUDEST).all():
        raise InputError("there are NaN or infinite samples in it, or some far outside [-1, 1]; repair or remove it")
    return wave, rate


def mel_filters(rate: int, fft: int, mels: int) -> Tensor:
    """Triangles of equal area on Slaney's mel scale from 0 to half the rate: float32, (fft // 2 + 1) × mels."""
    linear, step = 200 / 3, log(6.4) / 27  # linear in hertz up to 1 kHz, which is mel 15; logarithmic above
    top = rate / 2
    highest = top / linear if top < 1000 else 15 + log(top / 1000) / step
    mel = torch.linspace(0, highest, mels + 2, dtype=torch.float64)
    edges = torch.where(mel < 15, mel * linear, 1000 * ((mel - 15) * step).exp())
    bins = torch.linspace(0, top, fft // 2 + 1, dtype=torch.float64)[:, None]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return (torch.minimum(rise, fall).clamp(min=0) * 2 / (edges[2:] - edges[:-2])).float()


def _decode_file(raw: str | bytes | Path) -> tuple[np.ndarray, int]:
    """soundfile knows the sound formats, av the containers (.mp4, .m4a, …)."""
    import soundfile

    raw = file_bytes(raw)
    try:
        return soundfile.read(io.BytesIO(raw), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError):
        return _decode_container(raw)


def _decode_container(data: bytes) -> tuple[np.ndarray, int]:
    """The sound of a film starts when its pictures start: what is earlier is cut, a later start is preceded by silence.
    Of a damaged film it is what comes before the damage, as of its pictures."""
    import av

    try:
        with av.open(io.BytesIO(data), "r", metadata_errors="replace") as container:
            if not container.streams.audio:
                raise Absent("there is no sound in it; remove it or read it as video")
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise InputError("its sound is coded in a way that is not known; convert it to .wav or .flac")
            start = _start_of_pictures(container)
            to_floats = av.AudioResampler(format="fltp")
            frames = []
            try:
                for frame in container.decode(stream):
                    frames += to_floats.resample(frame)
            except av.FFmpegError:
                if start is None or not frames:
                    raise
    except (av.FFmpegError, ValueError):
        raise InputError("this is not a sound file that can be read; convert it to .wav or .flac") from None
    if not frames:
        return np.zeros((0, 1), np.float32), 1
    wave, rate = np.concatenate([frame.to_ndarray() for frame in frames], axis=1).T, frames[0].sample_rate
    if start is None or frames[0].time is None:
        return wave, rate
    late = round((frames[0].time - start) * rate)
    if late > LATEST * rate:
        raise InputError("its sound starts long after its pictures, so its times are broken; convert or remove it")
    return np.pad(wave, ((max(0, late), 0), (0, 0)))[max(0, -late) :], rate


def _start_of_pictures(container: Any) -> float | None:
    """When the pictures of a film start, in seconds; None: there are none, or only the cover of a song."""
    import av

    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic and stream.start_time is not None:
            return float(stream.start_time * stream.time_base)
    return None
