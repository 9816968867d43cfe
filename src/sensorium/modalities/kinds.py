"""Every kind of signal there is, in one table. A new one is one file and one line in it."""

from __future__ import annotations

from typing import Annotated, Any

from ..config import OneOf
from .audio import Audio
from .base import Modality
from .image import Image
from .label import Label
from .pair import Pair
from .points import Points
from .series import Series
from .table import Table
from .text import Text
from .video import Video
from .volume import Volume

KINDS: dict[str, type[Modality]] = {
    "image": Image,
    "audio": Audio,
    "video": Video,
    "pair": Pair,
    "volume": Volume,
    "points": Points,
    "text": Text,
    "series": Series,
    "table": Table,
    "label": Label,
}

# The configuration of one kind of signal; of several, FusionConfig.
SingleConfig = Annotated[Any, OneOf(KINDS)]
