"""What files of arrays say of their arrays: attributes and dimension labels of HDF5, or a JSON file beside the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...codecs.arrays import attributes
from ..description import InputConfig
from ..recognition.axes import AXES
from ..recognition.recognise import check_kind

# What axes are called elsewhere -> what they are called here. The examples' axis has no name here.
_AXES = {
    **dict.fromkeys(("steps", "timesteps", "t", "times", "timestamps"), "time"),
    **dict.fromkeys(
        ("channel", "features", "feature", "sensors", "sensor", "electrodes", "bands", "colour", "rgb"), "channels"
    ),
    **dict.fromkeys(("coordinates", "coords", "coordinate"), "xyz"),
    **dict.fromkeys(("point", "vertices"), "points"),
    **dict.fromkeys(("rows", "y"), "height"),
    **dict.fromkeys(("z", "slices"), "depth"),
    "x": "width",
}
_EXAMPLES = ("n", "batch", "example", "examples", "sample", "samples", "instances", "recordings", "trials")


@dataclass(frozen=True)
class ArrayNotes:
    """What is said of an array; nothing where a field is empty.

    Attributes:
        kind: its kind of signal.
        axes: of an example.
        channels: the names of its channels.
    """

    kind: str | None = None
    axes: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None

    def completed(self, config: InputConfig) -> InputConfig:
        """A description with what it leaves open."""
        axes = self.axes if config.kind in (None, self.kind) else None
        return replace(config, kind=config.kind or self.kind, axes=config.axes or axes)


def read_notes(path: Path) -> dict[str, ArrayNotes]:
    """What a file, or the JSON file of its name, says of its arrays: ``kind``, ``axes`` and ``channels``.

    Raises:
        InputError: the JSON file cannot be read, or there is no such kind of signal.
    """
    return {key: notes for key, values in attributes(path).items() if (notes := _notes(values)) != ArrayNotes()}


def _notes(values: Mapping[str, Any]) -> ArrayNotes:
    lower = {str(name).casefold(): value for name, value in values.items()}
    axes = next((words for name in ("axes", "dims", "dimensions") if (words := _words(lower.get(name)))), ())
    axes = tuple(_AXES.get(axis.casefold(), axis.casefold()) for axis in axes if axis.casefold() not in _EXAMPLES)
    known = any(sorted(axes) == sorted(names[: len(axes)]) for names in AXES.values()) if axes else False
    kind = lower.get("kind") or lower.get("modality")
    channels = _words(lower.get("channels") or lower.get("channel_names") or lower.get("columns"))
    return ArrayNotes(check_kind(str(kind)) if kind else None, axes if known else None, channels or None)


def _words(value: Any) -> tuple[str, ...]:
    """A list of names, or names with commas between them."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    is_list = isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)
    return tuple(value) if is_list else ()
