"""Programs that draw the curves of a run beside its own report."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from ..errors import InputError, did_you_mean

LOGS = ("tensorboard", "wandb")  # also the names of their packages


def check_log(log: Sequence[str]) -> None:
    """Refuse programs that are not known or not installed, before training takes any time.

    Raises:
        InputError: which one, and the cure.

    >>> check_log(["wandbb"])
    Traceback (most recent call last):
    ...
    sensorium.errors.InputError: --log wandbb: there is no such program; did you mean 'wandb'?
    """
    for name in log:
        if name not in LOGS:
            raise InputError(f"--log {name}: there is no such program; {did_you_mean(name, LOGS)}")
        if find_spec(name) is None:
            raise InputError(f"--log {name}: it is not installed: pip install 'sensorium[log]'")
