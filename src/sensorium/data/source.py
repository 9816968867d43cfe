"""What lies on disk -> examples in splits, with everything that was inferred on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from . import array_files, tables
from .array_files import list_arrays
from .audioset import is_segments, list_audioset
from .description import FILE_NAME, UNLABELLED, DataConfig, LayoutName, TargetConfig, TaskName, find_description
from .examples import Examples, Listing
from .folders import has_class_folders, list_folders
from .leaks import find_leaks
from .pairs import has_pairs, list_pairs
from .recognise import class_names, read_names, visible_files
from .roles import has_named_target
from .splits import assign
from .tables import list_table, read_table
from .targets import encode
from .ts_files import list_ts

_SUFFIXES: dict[LayoutName, tuple[str, ...]] = {
    "ts": (".ts",),
    "arrays": array_files.SUFFIXES,
    "table": tables.SUFFIXES,
}
_MANY_LISTED = 5


@dataclass(frozen=True)
class Source:
    """A data set, opened but not decoded.

    Attributes:
        path: the folder or file.
        kinds: the kind of signal of each modality name.
        task: ``classify``, ``tag``, ``regress``, ``flow`` or ``none``.
        classes: the names of the classes (regress: of the numbers), in the order of the targets.
        splits: the examples of ``train``, ``test`` and, if there are enough, ``val``.
        description: everything inferred, as a ``dataset.yaml`` that would say the same.
        warnings: what people should know before they trust a score.
    """

    path: Path
    kinds: dict[str, str]
    task: TaskName
    classes: tuple[str, ...]
    splits: dict[str, Examples]
    description: DataConfig
    warnings: tuple[str, ...]

    def only(self, names: Collection[str]) -> Source:
        """The same data with some of its signals alone, by name."""
        if set(names) == set(self.kinds):
            return self
        inputs = {name: config for name, config in (self.description.inputs or {}).items() if name in names}
        splits = {
            split: replace(some, raws={name: raws for name, raws in some.raws.items() if name in names})
            for split, some in self.splits.items()
        }
        kinds = {name: kind for name, kind in self.kinds.items() if name in names}
        return replace(self, kinds=kinds, splits=splits, description=replace(self.description, inputs=inputs))


def open_source(
    path: Path, *, description: DataConfig | None = None, fold: int | str | None = None, seed: int = 0
) -> Source:
    """Find the examples of a data set: class folders, tables, arrays, ``.ts`` series or pairs of frames; nothing is
    decoded.

    Args:
        path: a folder, or one table, array or ``.ts`` file.
        description: what cannot be guessed; None: the ``dataset.yaml`` in the folder, if there is one.
        fold: the fold to test on, for data with folds.
        seed: of the splits that are drawn here.

    Raises:
        InputError: there is nothing to learn from, with the place and the cure.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    root = path if path.is_dir() else path.parent
    description = description or find_description(path)
    listing = list_path(path, description)
    if not len(listing.names):
        raise InputError(f"{path}: there are no examples in it")
    listing, renamed = _test_from_val(listing, description)
    try:
        task, classes, targets = _targets(root, listing, description.target)
        listing = _as_frames(listing) if task == "flow" else listing
        splits = assign(
            len(listing.names),
            given=listing.given,
            strata=targets if task == "classify" else None,
            groups=listing.groups,
            folds=listing.folds,
            fold=fold,
            seed=seed,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    everything = Examples(listing.raws, targets, listing.names)
    parts = {name: everything.select(indices) for name, indices in splits.indices.items()}
    leaks = find_leaks(parts) if set(listing.kinds.values()) != {"table"} else ()
    target = replace(listing.description.target, task=task, classes=classes or None)
    return Source(
        path=path,
        kinds=listing.kinds,
        task=task,
        classes=classes,
        splits=parts,
        description=replace(listing.description, target=target),
        warnings=(*listing.warnings, *renamed, *splits.warnings, *_unseen(task, classes, parts), *leaks),
    )


def list_path(path: Path, description: DataConfig) -> Listing:
    """What a folder or file holds, before targets are encoded and splits are drawn."""
    if path.is_file():
        root, files = path.parent, [path]
    else:
        root, files = path, [file for file in visible_files(path) if file.name != FILE_NAME]
        if (path / "data").is_dir():
            files += visible_files(path / "data")
    layout = description.layout or _layout(path, files, description)
    if layout == "folders":
        return list_folders(root, description)
    if layout == "audioset":
        return list_audioset(root, files, description)
    if layout == "pairs":
        return list_pairs(root, description)
    if not any(file.suffix.lower() in _SUFFIXES[layout] for file in files):
        raise InputError(f"{path}: the layout {layout!r} needs files that end in {', '.join(_SUFFIXES[layout])}")
    readers: dict[str, Callable[[Path, list[Path], DataConfig], Listing]] = {
        "ts": list_ts,
        "arrays": list_arrays,
        "table": list_table,
    }
    return readers[layout](root, files, description)


def _layout(path: Path, files: list[Path], description: DataConfig) -> LayoutName:
    """Which layout this is. Flow comes before anything else, and class folders come before loose files, unless a table
    beside them knows the labels."""
    if any(map(is_segments, files)):
        return "audioset"
    present = [
        layout for layout, suffixes in _SUFFIXES.items() if any(file.suffix.lower() in suffixes for file in files)
    ]
    inputs = (description.inputs or {}).values()
    roles = (description.target.column, description.split, description.fold, description.group)
    speaks_of_columns = any(roles) or any(config.column for config in inputs)
    if any(config.files for config in inputs):
        return "folders"
    if not speaks_of_columns and description.target.task in (None, "flow") and path.is_dir() and has_pairs(path):
        return "pairs"
    if not speaks_of_columns and path.is_dir() and has_class_folders(path):
        knows = "table" in present and _knows_labels(files)
        return "table" if knows else "folders"
    if present:
        return present[0]
    if path.is_file():
        endings = ", ".join(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes)
        raise InputError(f"{path}: cannot be read as a data set; give a folder, or a file that ends in {endings}")
    if not any(path.iterdir()):
        raise InputError(f"{path}: the folder is empty")
    return "folders"


def _knows_labels(files: list[Path]) -> bool:
    """Whether a table names files and their labels: then the folders the files lie in mean nothing."""
    for path in files:
        if path.suffix.lower() in tables.SUFFIXES:
            table = read_table(path)
            return has_named_target(table) and tables.has_paths(table, path.parent)
    return False


def _test_from_val(listing: Listing, description: DataConfig) -> tuple[Listing, tuple[str, ...]]:
    """Where only ``train`` and ``val`` were found, ``val`` is what scores are reported on: our ``test``."""
    given = listing.given
    if description.splits is not None or given is None or set(given.tolist()) - {""} != {"train", "val"}:
        return listing, ()
    splits = dict(listing.description.splits or {})
    splits["test"] = splits.pop("val")
    renamed = replace(
        listing,
        given=np.where(given == "val", "test", given),
        description=replace(listing.description, splits=splits),
    )
    return renamed, ("there is no test split: the given val split is the test split",)


def _targets(root: Path, listing: Listing, target: TargetConfig) -> tuple[TaskName, tuple[str, ...], np.ndarray | None]:
    """The task, the classes, and the targets; of data that are learned without labels there are none."""
    task = target.task or ("flow" if listing.description.layout == "pairs" else None)
    if task in UNLABELLED:
        return task, (), None
    if listing.description.layout == "pairs":
        raise InputError(f"frames and flow have nothing to {task}; leave the task out")
    return encode(listing.labels, listing.names, task=task, classes=_classes(root, listing, target))


def _as_frames(listing: Listing) -> Listing:
    """Pictures as frames, of which the task makes pairs."""
    (name, kind), *others = listing.kinds.items()
    if others or kind not in ("pair", "image"):
        told = " and ".join(listing.kinds.values())
        raise InputError(f"flow is learned of pairs of frames or of pictures, this is {told}; name another task")
    return replace(listing, kinds={"pair": "pair"}, raws={"pair": listing.raws[name]})


def _classes(root: Path, listing: Listing, target: TargetConfig) -> tuple[str, ...] | None:
    """The class names: as described, as the data say, or from a text file beside integer labels."""
    if isinstance(target.classes, str):
        return read_names(root / target.classes)
    if target.classes is not None:
        return target.classes
    if listing.classes is not None:
        return listing.classes
    numbers = listing.labels.ndim == 1 and listing.labels.dtype.kind in "iu"
    names = class_names(root) if numbers else None
    return names if names and int(listing.labels.max()) <= len(names) else None


def _unseen(task: str, classes: tuple[str, ...], parts: dict[str, Examples]) -> tuple[str, ...]:
    """A warning about classes that are tested but never trained."""
    if task != "classify":
        return ()
    seen = {name: set(np.unique(part.targets).tolist()) for name, part in parts.items() if part.targets is not None}
    missing = [classes[place] for place in sorted(seen["test"] - seen["train"])]
    if not missing:
        return ()
    some = ", ".join(missing[:_MANY_LISTED]) + (", …" if len(missing) > _MANY_LISTED else "")
    return (f"{len(missing)} classes are in test but never in train, so they cannot be learned: {some}",)
