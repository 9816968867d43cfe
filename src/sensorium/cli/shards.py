"""The command that writes shards."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ..data.shard_writer import write_shards
from ..training.plan import recognise
from .display import Display
from .options import DataOptions

_MOST_LISTED = 5  # examples that cannot be read


def shard_data(data: Path, out: Path, *, megabytes: float, task: str | None, options: DataOptions) -> None:
    """Write shards and say what they hold.

    Raises:
        InputError: the data cannot be used, or the shards cannot be written.
    """
    with Display() as listener:
        listener.stage("opening the data")
        source = recognise(data, task=task, **vars(options))
        listener.stage("writing shards")
        written = write_shards(
            source, out, megabytes=megabytes, progress=lambda done, total: listener.progress(done / total, {})
        )
    console = Console(highlight=False, soft_wrap=True)
    counts = ", ".join(f"{count:,} {split}" for split, count in written.examples.items())
    console.print(f"{written.shards:,} shards, {written.size / 1e6:,.1f} MB: {counts}", markup=False)
    for line in written.set_aside[:_MOST_LISTED]:
        console.print(f"set aside: {line}", markup=False)
    if len(written.set_aside) > _MOST_LISTED:
        console.print(f"set aside: {len(written.set_aside) - _MOST_LISTED:,} more", markup=False)
    console.print(f"shards: {written.folder}; sensorium train {written.folder}", markup=False)
