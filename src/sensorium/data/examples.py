"""Examples before they are decoded: they are cheap to list, to select from and to pickle."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from ..errors import InputError, did_you_mean
from ..modalities.base import Modality
from ..modalities.fusion import WITHHELD
from .assumptions import Assumption
from .description import DataConfig


class Selection(Sequence[Any]):
    """Items selected from several sequences, one after the other; an item is taken from its sequence when it is needed.

    >>> list(Selection(["ab", "cd"]).select([3, 0]))
    ['d', 'a']
    """

    def __init__(self, parts: Sequence[Sequence[Any]], index: npt.NDArray[np.int64] | None = None) -> None:
        self._parts = tuple(parts)
        self._starts = [0, *np.cumsum([len(part) for part in self._parts]).tolist()]
        self._index = np.arange(self._starts[-1]) if index is None else index

    @property
    def parts(self) -> tuple[Sequence[Any], ...]:
        """The sequences, whole."""
        return self._parts

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, position: int) -> Any: ...
    @overload
    def __getitem__(self, position: slice) -> Selection: ...
    def __getitem__(self, position: int | slice) -> Any:
        if isinstance(position, slice):
            return Selection(self._parts, self._index[position])
        part, at = self.locate(position)
        return part[at]

    def __iter__(self) -> Iterator[Any]:
        if len(self._parts) == 1:  # quicker than one by one
            part = self._parts[0]
            return (part[index] for index in self._index.tolist())
        return (self[position] for position in range(len(self)))

    def gathered(self, columns: Sequence[np.ndarray]) -> np.ndarray:
        """The selected values of columns, each as long as one of the sequences."""
        return np.concatenate(columns)[self._index]

    def locate(self, position: int) -> tuple[Sequence[Any], int]:
        """The sequence that an item is taken from, and its position there."""
        index = int(self._index[position])
        part = bisect_right(self._starts, index) - 1
        return self._parts[part], index - self._starts[part]

    def select(self, indices: npt.ArrayLike) -> Selection:
        """The items at ``indices``, in that order."""
        return Selection(self._parts, self._index[np.asarray(indices, dtype=np.int64)])


class Records(Sequence[Any]):
    """Several sequences as one sequence of dicts: an item holds, by name, the cells of a table's row or the signals of
    an example.

    >>> Records({"width": [1, 2], "height": [3, 4]})[1]
    {'width': 2, 'height': 4}
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, position: Any) -> Any:
        return {name: values[position] for name, values in self.columns.items()}


def pick(items: Sequence[Any], indices: npt.ArrayLike) -> Sequence[Any]:
    """The items at ``indices``, not copied."""
    return (items if isinstance(items, Selection) else Selection([items])).select(indices)


@dataclass(frozen=True)
class Examples:
    """Examples of one split, not yet decoded.

    Attributes:
        raws: for every modality name one raw (path, bytes, array, string or table row) per example; None where the
            example lacks it.
        targets: classify: int64, n; tag and regress: float32, n × k. None: unlabelled.
        names: what to call each example when speaking to people.
    """

    raws: Mapping[str, Sequence[Any]]
    targets: np.ndarray | None
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def select(self, indices: npt.ArrayLike) -> Examples:
        """The examples at ``indices``, in that order."""
        indices = np.asarray(indices, dtype=np.int64)
        return Examples(
            {name: pick(raws, indices) for name, raws in self.raws.items()},
            None if self.targets is None else self.targets[indices],
            pick(self.names, indices),
        )

    @staticmethod
    def joined(parts: Sequence[Examples]) -> Examples:
        """The examples of several splits of one data set, one after the other."""
        known = [part.targets for part in parts if part.targets is not None]
        return Examples(
            {name: Selection([part.raws[name] for part in parts]) for name in parts[0].raws},
            np.concatenate(known) if known else None,
            Selection([part.names for part in parts]),
        )

    def without(self, names: Sequence[str]) -> Examples:
        """The same examples, without the signals of these names; some may have nothing left, from which a model then
        answers.

        Raises:
            InputError: there is no such signal, or none would be left.
        """
        for name in names:
            if name not in self.raws:
                raise InputError(f"without {name!r}: there is no such signal; {did_you_mean(name, self.raws)}")
        if set(names) == set(self.raws):
            raise InputError(f"without {', '.join(sorted(self.raws))}: nothing would be left; leave one")
        withheld = [WITHHELD] * len(self)
        return replace(self, raws={name: withheld if name in names else raws for name, raws in self.raws.items()})

    def for_modality(self, modality: Modality) -> Examples:
        """The same examples with one raw each, as a model's modality loads it: the only signal, or, of a fusion, a
        mapping from the names of the signals.

        Raises:
            InputError: a signal that the model does not have.
        """
        if modality.modalities == (modality,):
            only = modality.name if modality.name in self.raws else next(iter(self.raws))
            return Examples({modality.name: self.raws[only]}, self.targets, self.names)
        names = [modality.name for modality in modality.modalities]
        for name in self.raws:
            if name not in names:
                raise InputError(f"the data has {name!r}, which the model does not read; {did_you_mean(name, names)}")
        return Examples({modality.name: Records(self.raws)}, self.targets, self.names)


@dataclass(frozen=True)
class Listing:
    """Everything a layout found: the examples are not decoded yet, their labels not encoded, and no splits drawn.

    Attributes:
        kinds: the kind of each modality name.
        raws: as in :class:`Examples`.
        names: as in :class:`Examples`.
        labels: n, or n × k numbers; strings, numbers, lists of either, None or NaN where missing.
        classes: names the data give to integer labels, if any.
        split_names: n strings, ``train``, ``val``, ``test`` or empty (left out): the split of each example on disk.
            None: there is none.
        folds: n values, or None.
        groups: n values, or None.
        description: all of the above as a description that finds it again.
        warnings: what people should know.
        assumptions: what was guessed.
    """

    kinds: dict[str, str]
    raws: dict[str, Sequence[Any]]
    names: Sequence[str]
    labels: np.ndarray
    description: DataConfig
    classes: tuple[str, ...] | None = None
    split_names: np.ndarray | None = None
    folds: np.ndarray | None = None
    groups: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
