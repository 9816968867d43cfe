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
from .single_files import Unlabelled, Unreadable, open_files
from .source import Source, open_source
from .values import open_values

__all__ = [
    "Assumption",
    "Corrections",
    "DataConfig",
    "Examples",
    "InputConfig",
    "Samples",
    "Source",
    "TargetConfig",
    "Unlabelled",
    "Unreadable",
    "collate",
    "corrected",
    "find_description",
    "load_samples",
    "open_files",
    "open_source",
    "open_values",
    "read_description",
]
