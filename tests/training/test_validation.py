"""When a run is validated: often enough to choose weights, and never for more than a twentieth of the time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sensorium.training.run_state import Counters
from sensorium.training.validation import VALIDATIONS, is_due


def passes(*, steps: int, batch_size: int, validated: int, views: int) -> list[int]:
    """The steps after which a run is validated."""
    counters, dates = Counters(), []
    for step in range(1, steps + 1):
        counters.steps = step
        share = step / steps
        if is_due(counters, share, batch_size=batch_size, validated=validated * views) and share < 1:
            counters.validations, counters.validated_at = max(counters.validations + 1, int(share * VALIDATIONS)), step
            dates.append(step)
    return dates


@given(
    steps=st.integers(1, 300), batch_size=st.integers(1, 64), validated=st.integers(0, 500), views=st.integers(1, 16)
)
def test_a_forward_pass_is_a_third_of_a_step_so_validation_takes_a_twentieth(
    steps: int, batch_size: int, validated: int, views: int
) -> None:
    dates = passes(steps=steps, batch_size=batch_size, validated=validated, views=views)
    assert len(dates) <= VALIDATIONS
    assert len(dates) * validated * views <= 0.05 * 3 * steps * batch_size


def test_a_small_validation_split_is_seen_twenty_times() -> None:
    assert (
        len(passes(steps=200, batch_size=32, validated=30, views=1)) == VALIDATIONS - 1
    )  # and one after the last step


def test_many_views_are_seen_less_often() -> None:
    assert len(passes(steps=200, batch_size=32, validated=30, views=16)) < VALIDATIONS


def test_after_the_last_step_there_is_one_pass_and_no_second() -> None:
    counters = Counters(steps=10, validations=3, validated_at=9)
    assert is_due(counters, 1.0, batch_size=1, validated=1000)
    counters.validated_at = 10
    assert not is_due(counters, 1.0, batch_size=1, validated=1000)
