"""How pages write quantities for people."""

from __future__ import annotations

from math import isfinite

from ..tasks.base import Task
from ..tasks.presentation import format_number


def format_percent(share: float | None) -> str:
    """A share in percent, with a space that does not break; a dash where it is not defined.

    >>> format_percent(0.9637), format_percent(1.0), format_percent(None)
    ('96.4\\xa0%', '100.0\\xa0%', '–')
    """
    if share is None or not isfinite(share):
        return "–"
    return f"{100 * share:.1f}\u00a0%"


def format_count(count: int) -> str:
    """A count, in millions from a million on.

    >>> format_count(57412), format_count(44912254)
    ('57,412', '44.9 M')
    """
    return f"{count:,}" if count < 1_000_000 else f"{count / 1e6:.1f} M"


def format_duration(seconds: float) -> str:
    """A time span in the unit that suits it.

    >>> format_duration(12.3), format_duration(90), format_duration(9000)
    ('12 s', '1.5 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def format_times(count: int, singular: str, plural: str | None = None) -> str:
    """A count and its noun.

    >>> format_times(1, "head"), format_times(1200, "head"), format_times(2, "set of weights", "sets of weights")
    ('1 head', '1,200 heads', '2 sets of weights')
    """
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def short_name(name: str) -> str:
    """The last part of a path; a name that is not a path as it is.

    >>> short_name("test/cat/0001.png"), short_name("people.csv row 3")
    ('0001.png', 'people.csv row 3')
    """
    return name.rpartition("/")[2]


def format_metric(value: float | None, task: Task, name: str) -> str:
    """A metric, or a score of one class, in percent if the task says that it is a share."""
    return format_percent(value) if task.is_percent(name) else format_number(value)
