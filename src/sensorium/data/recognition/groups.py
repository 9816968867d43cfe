"""Groups: examples of one person, recording or place, which must stay in one split."""

from __future__ import annotations

import re

import numpy as np

NO_GROUP = "none"  # as a description's ``group``: there is none, whatever columns are called

_WORDS = re.compile(
    "group|patient|subject|speaker|person|people|participant|user|session|recording|rec|trial|individual|animal|site|"
    "hospital|actor|driver|rater|writer|singer"
)
_FILLERS = ("", "id", "ids", "no", "nr", "number", "name", "code")


def is_group_name(name: str) -> bool:
    """Whether a column's name speaks of groups.

    >>> [is_group_name(name) for name in ("patient_id", "SubjectID", "source_group", "Speaker", "price", "user rating")]
    [True, True, True, True, False, False]
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).casefold()
    pieces = [word.rstrip("s") for word in re.split(r"[^a-z]+", words) if word not in _FILLERS]
    return bool(pieces) and _WORDS.fullmatch(pieces[-1]) is not None


def keeps_groups(values: np.ndarray, splits: np.ndarray | None) -> bool:
    """Whether values are groups: several of them, many examples share one, and none recurs across given splits.

    Args:
        values: n, of any type.
        splits: n, the split of each example; None: splits are not given.
    """
    names, numbers = np.unique(values.astype(str), return_inverse=True)
    if not 1 < len(names) <= len(values) / 2:
        return False
    if splits is None:
        return True
    pairs = {(group, split) for group, split in zip(numbers.tolist(), splits.tolist(), strict=True) if split != ""}
    return len(pairs) == len({group for group, _ in pairs})
