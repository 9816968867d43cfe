"""Which examples train and which test: splits that are stratified, seeded, and keep groups together."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from natsort import natsorted

from ..errors import InputError
from .assumptions import Assumption

TEST_FRACTION = 0.2
VAL_FRACTION = 0.1
FEWEST_FOR_VAL = 500


@dataclass(frozen=True)
class Splits:
    """The indices of the examples of each split, ascending; warnings about them; and what was assumed."""

    indices: dict[str, np.ndarray]
    warnings: tuple[str, ...] = ()
    assumptions: tuple[Assumption, ...] = ()


def assign(
    count: int,
    *,
    on_disk: np.ndarray | None = None,
    strata: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    folds: np.ndarray | None = None,
    fold: int | str | None = None,
    val: float | None = None,
    seed: int = 0,
) -> Splits:
    """Which of ``count`` examples are ``train``, ``val`` and ``test``.

    A named fold is the test split. Otherwise the splits on disk are kept; without any, the last fold is the test split,
    or, without folds, 20 % of the examples. Where there is no ``val``, a share of the training examples becomes it.

    Args:
        on_disk: n strings, ``train``, ``val``, ``test`` or empty: the examples in none of them.
        strata: n integers; every split has about the same share of each.
        groups: n values; examples of one group stay together.
        folds: n values.
        fold: the one to test on.
        val: the share of the training examples for validation; 0: none. None: 10 % of 500 examples or more.

    Raises:
        InputError: no such fold, no such share, or nothing to train on.

    >>> assign(10).assumptions[0].text
    'test: 2 of 10 examples, drawn here, evenly'
    """
    if val is not None and not 0 <= val < 1:
        raise InputError(f"--val {val:g}: it is a share of the training examples, at least 0 and less than 1")
    indices, said = _tested(np.arange(count), on_disk, folds, fold)
    if not len(indices.get("train", ())):
        raise InputError("there are no training examples; name them under `splits` in dataset.yaml")
    how = _how(strata, groups)
    if "test" not in indices:
        indices["train"], indices["test"] = _cut(indices["train"], TEST_FRACTION, strata, groups, seed)
        flag = "" if groups is not None else "--group COLUMN"
        said.append(
            Assumption("split", f"test: {len(indices['test']):,} of {count:,} examples, drawn here, {how}", flag)
        )
    share = val if val is not None else VAL_FRACTION if len(indices["train"]) >= FEWEST_FOR_VAL else 0.0
    if "val" not in indices:
        if share:
            trained = len(indices["train"])
            indices["train"], indices["val"] = _cut(indices["train"], share, strata, groups, seed + 1)
            text = f"val: {len(indices['val']):,} of {trained:,} training examples, drawn here, {how}"
        else:
            text = "val: none, so the weights of the last step are kept"
        said.append(Assumption("split", text, "--val SHARE"))
    warnings = () if groups is None else _in_two_splits(groups, indices)
    return Splits({name: indices[name] for name in ("train", "val", "test") if name in indices}, warnings, tuple(said))


def _tested(
    everything: np.ndarray, on_disk: np.ndarray | None, folds: np.ndarray | None, fold: int | str | None
) -> tuple[dict[str, np.ndarray], list[Assumption]]:
    """The splits that the data have, by fold or on disk, and what was assumed of them; else all examples are for
    training."""
    if fold is not None or (on_disk is None and folds is not None):
        if folds is None:
            raise InputError(f"fold {fold}: these data have no folds; name their column as `fold` in dataset.yaml")
        words = folds.astype(str)
        known = natsorted(np.unique(words).tolist())
        said = []
        if fold is None:
            fold = known[-1]
            said.append(Assumption("split", f"test: fold {fold}, the last of {len(known)}", "--fold FOLD"))
        if str(fold) not in known:
            raise InputError(f"fold {fold}: there is no such fold; there are {', '.join(known)}")
        test = words == str(fold)
        return {"train": everything[~test], "test": everything[test]}, said
    if on_disk is None:
        return {"train": everything}, []
    indices = {name: everything[on_disk == name] for name in ("train", "val", "test") if (on_disk == name).any()}
    counts = ", ".join(f"{len(chosen):,} {name}" for name, chosen in indices.items())
    left_out = int((on_disk == "").sum())
    more = f"; {left_out:,} examples are in none of them" if left_out else ""
    return indices, [Assumption("split", f"as on disk: {counts}{more}", "--fold FOLD" if folds is not None else "")]


def _how(strata: np.ndarray | None, groups: np.ndarray | None) -> str:
    """By what the splits that are drawn here are drawn."""
    if groups is not None:
        return f"so that none of {len(np.unique(groups.astype(str))):,} groups is in two splits"
    return "evenly" if strata is None else "with the same share of each class"


def _in_two_splits(groups: np.ndarray, indices: dict[str, np.ndarray]) -> tuple[str, ...]:
    """A warning about groups that are in train and in test."""
    in_both = set(groups[indices["train"]].tolist()) & set(groups[indices["test"]].tolist())
    if not in_both:
        return ()
    example = natsorted(sorted(map(str, in_both)))[0]
    return (f"{len(in_both)} groups are in train and in test, for example {example!r}: scores will be too good",)


def _cut(
    indices: np.ndarray, fraction: float, strata: np.ndarray | None, groups: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The indices in two: without and with a fraction of them."""
    strata = np.zeros(len(indices), dtype=np.int64) if strata is None else strata[indices]
    if groups is None:
        taken = _stratified(strata, fraction, np.random.default_rng(seed))
    else:
        taken = _grouped(strata, fraction, groups[indices], seed)
    if not taken.any() or taken.all():
        raise InputError(f"{len(indices)} examples are too few to set a part of them aside; name the splits yourself")
    return indices[~taken], indices[taken]


def _stratified(strata: np.ndarray, fraction: float, random: np.random.Generator) -> np.ndarray:
    """A mask that takes its share of every stratum, rounded so that the total is right; never all of a stratum."""
    _, strata, counts = np.unique(strata, return_inverse=True, return_counts=True)
    quota = counts * fraction
    taking = np.floor(quota).astype(np.int64)
    spare = round(len(strata) * fraction) - int(taking.sum())
    # The largest remainders get one more; a stratum of one stays where it can be learned from.
    wish = np.where(counts > taking + 1, quota - taking + random.uniform(0, 1e-6, len(counts)), -1.0)
    for stratum in np.argsort(-wish)[:spare]:
        taking[stratum] += wish[stratum] >= 0
    order = np.lexsort((random.random(len(strata)), strata))  # shuffled within each stratum
    rank = np.empty(len(strata), dtype=np.int64)
    rank[order] = np.arange(len(strata)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank < taking[strata]


def _grouped(strata: np.ndarray, fraction: float, groups: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    _, groups = np.unique(groups.astype(str), return_inverse=True)
    parts = min(round(1 / fraction), int(groups.max()) + 1, int(np.bincount(strata).max()))
    if parts < 2:
        raise InputError("there is only one group, so none can be set aside; name another column as `group`")
    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    taken = np.zeros(len(groups), dtype=bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about small classes, which the remarks on the data name
        taken[next(folds.split(groups, strata, groups))[1]] = True
    return taken
