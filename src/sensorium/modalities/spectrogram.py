"""The log-mel spectrogram, as librosa computes it (Slaney's mel scale and norm)."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

FLOOR = 1e-6  # power below which everything is silence


def log_mels(wave: Tensor, filters: Tensor, *, window: int, hop: int) -> Tensor:
    """The natural logarithm of the mel spectrogram: power, from spectra that are centred on every ``hop``-th sample.

    Args:
        wave: batch × samples × channels, float.
        filters: as :func:`mel_filters` gives them.
        window: samples of one spectrum.
        hop: samples from one spectrum to the next.

    Returns:
        batch × spectra × mels × channels, with 1 + samples // hop spectra.
    """
    fft = 2 * (len(filters) - 1)
    hann = torch.hann_window(window, device=wave.device)
    flat = wave.float().transpose(1, 2).flatten(0, 1)
    spectra = torch.stft(flat, fft, hop, window, hann, pad_mode="constant", return_complex=True)
    mels = spectra.abs().square().transpose(1, 2) @ filters.to(wave.device, non_blocking=True)
    return (mels + FLOOR).log().unflatten(0, (-1, wave.shape[2])).permute(0, 2, 3, 1)


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
