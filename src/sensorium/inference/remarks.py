"""What is odd about examples, compared with those that a model was trained on."""

from __future__ import annotations

from ..data import Examples
from ..modalities import Modality


def count_remarks(examples: Examples, modality: Modality) -> tuple[str, ...]:
    """A warning that counts the examples about which there are remarks, with the first of them; none where there are no
    remarks. Signals in files are left out: they would have to be decoded once more.

    Args:
        examples: with a raw by the name of each modality.
        modality: what the model reads.
    """
    found: dict[int, str] = {}
    for part in modality.modalities:
        raws = examples.raws[part.name if part.name in examples.raws else next(iter(examples.raws))]
        if type(part).remarks is Modality.remarks:
            continue
        for index, raw in enumerate(raws):
            if raw is not None and not part.reads_files(raw) and (remarks := part.remarks(raw)):
                found.setdefault(index, remarks[0])
    if not found:
        return ()
    first = min(found)
    return (
        f"{len(found):,} of {len(examples):,} examples are unlike those of training, for example "
        f"{examples.names[first]}: {found[first]}",
    )
