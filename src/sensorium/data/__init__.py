"""What users have on disk -> examples in splits that do not leak -> decoded samples -> batches."""

from .assumptions import Assumption
from .description import (
    Corrections,
    DataConfig,
    InputConfig,
    TargetConfig,
    corrected,
    find_description,
    read_description,
)
from .examples import Examples
from .samples import Samples, collate, load_samples
from .single_files import open_files
from .source import Source, open_source

__all__ = [
    "Assumption",
    "Corrections",
    "DataConfig",
    "Examples",
    "InputConfig",
    "Samples",
    "Source",
    "TargetConfig",
    "collate",
    "corrected",
    "find_description",
    "load_samples",
    "open_files",
    "open_source",
    "read_description",
]
