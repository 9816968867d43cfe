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
from .fingerprints import count_seen, fingerprints
from .matching import EVERYTHING, Known, open_for
from .samples import Samples, collate, load_samples
from .source import Source, open_source
from .unlabelled.signals import open_signals, open_strange_files
from .unlabelled.single_files import Unlabelled, Unreadable, open_files
from .unlabelled.values import open_values

__all__ = [
    "EVERYTHING",
    "Assumption",
    "Corrections",
    "DataConfig",
    "Examples",
    "InputConfig",
    "Known",
    "Samples",
    "Source",
    "TargetConfig",
    "Unlabelled",
    "Unreadable",
    "collate",
    "corrected",
    "count_seen",
    "find_description",
    "fingerprints",
    "load_samples",
    "open_files",
    "open_for",
    "open_signals",
    "open_source",
    "open_strange_files",
    "open_values",
    "read_description",
]
