"""Every kind of signal there is, in one table. A new one is one file and one line in it."""

from __future__ import annotations

from typing import Annotated

import pydantic

from .audio import Audio, AudioConfig
from .base import Modality
from .image import Image, ImageConfig
from .label import Label, LabelConfig
from .pair import Pair, PairConfig
from .points import Points, PointsConfig
from .series import Series, SeriesConfig
from .table import Table, TableConfig
from .text import Text, TextConfig
from .video import Video, VideoConfig

KINDS: dict[str, type[Modality]] = {
    "image": Image,
    "audio": Audio,
    "video": Video,
    "pair": Pair,
    "points": Points,
    "text": Text,
    "series": Series,
    "table": Table,
    "label": Label,
}

SingleConfig = Annotated[
    ImageConfig
    | AudioConfig
    | VideoConfig
    | PairConfig
    | PointsConfig
    | TextConfig
    | SeriesConfig
    | TableConfig
    | LabelConfig,
    pydantic.Field(discriminator="kind"),
]
