"""BIDS, the folders of brain research: ``participants.tsv`` beside ``sub-01/eeg/sub-01_task-rest_eeg.edf``."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...codecs.tables import decode
from ...errors import InputError
from ...files import ending, without_ending
from ..assumptions import Assumption
from ..description import DataConfig
from ..examples import Listing
from ..recognition.columns import to_numpy
from ..recognition.groups import NO_GROUP
from ..recognition.recognise import can_be, check_kind, kind_of_suffix, visible_folders
from ..recognition.roles import find_roles
from .folders import relative, walk

_PARTICIPANTS, _ID, _FILE = "participants.tsv", "participant_id", "file"
_PREFIX = "sub-"
_TARGETS = ("diagnosis", "dx", "group", "label", "class", "condition", "disease", "status")
_UNREAD = (".set", ".fdt", ".vhdr", ".fif", ".mgz")  # what such folders hold that is not read


def is_bids(root: Path) -> bool:
    """Whether a folder has a table of participants, and a folder for some of them."""
    is_there = root.is_dir() and (root / _PARTICIPANTS).is_file()
    return is_there and any(name.startswith(_PREFIX) for name in visible_folders(root))


def list_bids(root: Path, description: DataConfig) -> Listing:
    """Each recording of each participant, labelled by a column of ``participants.tsv``. Those of a participant stay in
    one split. Where there are several sorts of recordings (``_T1w``, ``_T2w``), the commonest one.

    Raises:
        InputError: no recording that can be read, or no column that is recognised as the target.
    """
    path = root / _PARTICIPANTS
    people = decode(path)
    if _ID not in people.column_names:
        raise InputError(f"{path}: there is no column {_ID!r}; name the participants in it")
    kinds = {str(config.kind) for config in (description.inputs or {}).values() if config.kind}
    files, assumptions = _recordings(root, kinds)
    rows = {_key(name): row for row, name in enumerate(people[_ID].to_pylist())}
    known = [file for file in files if _key(file.relative_to(root).parts[0]) in rows]
    unknown = len(files) - len(known)
    if not known:
        raise InputError(f"{path}: none of its participants is one of the folders; call both alike")
    warnings = [f"{unknown} recordings are of nobody in {_PARTICIPANTS}"] if unknown else []
    table = people.take(pa.array([rows[_key(file.relative_to(root).parts[0])] for file in known]))
    table = table.append_column(_FILE, pa.array([relative(root, file) for file in known]))
    described = replace(description, group=description.group or _ID)
    if described.target.column is None:
        column = next((name for word in _TARGETS for name in people.column_names if name.casefold() == word), None)
        described = replace(described, target=replace(described.target, column=column))
        assumptions += [Assumption("target", f"{column!r} of {_PARTICIPANTS}", "--target COLUMN")] if column else []
    described, assumed = find_roles(table, root, path, described)
    if isinstance(described.target.column, str) and (missing := table[described.target.column].null_count):
        warnings.append(f"{missing} recordings have no {described.target.column!r} and were left out")
        table = table.filter(table[described.target.column].is_valid())
    inputs = described.inputs or {}
    groups = None if described.group == NO_GROUP else described.group
    target = described.target.column
    return Listing(
        kinds={name: check_kind(str(config.kind)) for name, config in inputs.items()},
        raws={name: [root / file for file in table[_FILE].to_pylist()] for name in inputs},
        names=table[_FILE].to_pylist(),
        labels=to_numpy(table[target]) if isinstance(target, str) else np.full(len(table), None),
        groups=to_numpy(table[groups]) if groups else None,
        description=replace(described, layout="bids"),
        warnings=tuple(warnings),
        assumptions=(*assumptions, *assumed),
    )


def _key(name: object) -> str:
    """A participant, however it is written: ``sub-01``, ``01`` or 1."""
    return str(name).removeprefix(_PREFIX).lstrip("0")


def _recordings(root: Path, kinds: set[str]) -> tuple[list[Path], list[Assumption]]:
    """The files of the commonest sort that are signals, and what was assumed."""
    folders = [root / name for name in visible_folders(root) if name.startswith(_PREFIX)]
    files = [file for folder in folders for file in walk(folder)]
    sorts: dict[tuple[str, str], list[Path]] = {}
    for file in files:
        kind = kind_of_suffix(ending(file))
        wanted = kind is not None if not kinds else any(can_be(ending(file), name) for name in kinds)
        if wanted:
            sorts.setdefault((str(kind), without_ending(file).name.rpartition("_")[2]), []).append(file)
    if not sorts:
        unread = Counter(ending(file) for file in files if ending(file) in _UNREAD).most_common(1)
        problem = (
            f"its recordings end in {unread[0][0]}, which is not read" if unread else "there are no recordings in it"
        )
        raise InputError(f"{root}: {problem}; give .edf, .bdf or .nii.gz")
    chosen = max(sorts, key=lambda sort: len(sorts[sort]))
    others = sorted({name for _, name in sorts if name != chosen[1]})
    said = [Assumption("files", f"those called _{chosen[1]}, not {', '.join(others)}", "--kind KIND")] if others else []
    return sorts[chosen], said
