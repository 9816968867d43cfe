"""Signals: each kind in a file of its own, KINDS, the table of them, and the fusion of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from ..codecs.raw import Raw
from ..config import OneOf
from .audio import AudioConfig
from .base import Batch, Modality, Sample, Signal, SignalConfig
from .fusion import Fusion, FusionConfig
from .image import ImageConfig
from .kinds import KINDS, SingleConfig
from .label import LabelConfig
from .pair import PairConfig
from .points import PointsConfig
from .series import SeriesConfig
from .table import TableConfig
from .text import TextConfig
from .video import VideoConfig
from .volume import VolumeConfig


class _KindsAndFusion(Mapping[str, type[Modality]]):
    """KINDS as it is when asked, and the fusion of several."""

    def __getitem__(self, kind: str) -> type[Modality]:
        return Fusion if kind == Fusion.kind else KINDS[kind]

    def __iter__(self) -> Iterator[str]:
        return iter((*KINDS, Fusion.kind))

    def __len__(self) -> int:
        return len(KINDS) + 1


ModalityConfig = Annotated[Any, OneOf(_KindsAndFusion())]


def build_modality(config: SignalConfig, *, name: str | None = None) -> Modality:
    """The modality that a configuration describes: one of :data:`KINDS`, or a fusion of several."""
    if isinstance(config, FusionConfig):
        return Fusion(config, name=name)
    return KINDS[config.kind](config, name=name)


__all__ = [
    "KINDS",
    "AudioConfig",
    "Batch",
    "Fusion",
    "FusionConfig",
    "ImageConfig",
    "LabelConfig",
    "Modality",
    "ModalityConfig",
    "PairConfig",
    "PointsConfig",
    "Raw",
    "Sample",
    "SeriesConfig",
    "Signal",
    "SingleConfig",
    "TableConfig",
    "TextConfig",
    "VideoConfig",
    "VolumeConfig",
    "build_modality",
]
