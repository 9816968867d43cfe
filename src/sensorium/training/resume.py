"""Going on with an interrupted run: only with the configuration and the data that it began with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import from_dict, override, to_dict
from ..data import Source
from ..data.identity import difference, identify
from ..errors import InputError
from .plan import PLAIN, Plan, RunConfig, in_model, is_permuted, read_run_config, reopen
from .run_folder import CONFIG, read_identity, read_started

DEFAULTS = {"preset": "auto", "seed": 0, "permute": False}
CURE = "restore the data, or train anew with another --out"


def resumed(data: Path, folder: Path, *, settings: Sequence[str], options: Mapping[str, Any]) -> Plan:
    """The plan of a run that goes on.

    Args:
        data: as when the run began; it may be in another folder.
        folder: of the run.
        settings, options: as of :func:`check_options`.

    Raises:
        InputError: the options, the configuration or the data are not those that the run began with.
    """
    config = read_run_config(folder)
    check_options(config, folder, settings=settings, options=options)
    check_config(config, folder)
    return Plan(reopen_unchanged(data, config, folder), config)


def check_options(config: RunConfig, folder: Path, *, settings: Sequence[str], options: Mapping[str, Any]) -> None:
    """Refuse options that would change a run that goes on.

    Args:
        config: of the run.
        folder: of the run.
        settings: overrides, as of :func:`plan`.
        options: others of :func:`plan`, by name. What is None or a default was not given.

    Raises:
        InputError: the run has another value.
    """
    cure = "leave it out, or train anew with another --out"
    plain = to_dict(config)
    for setting in in_model(settings):
        if setting != PLAIN and from_dict(RunConfig, override(plain, [setting]), where="--set") != config:
            raise InputError(f"--set {setting}: the run in {folder} has another value and goes on with it; {cure}")
    has: dict[str, object] = {"preset": config.preset, "fold": config.fold, "seed": config.seed}
    has |= {limit: getattr(config.recipe, limit) for limit in ("minutes", "epochs", "steps")}
    has |= {"permute": is_permuted(config.model.inputs)}
    for name, value in options.items():
        if value not in (None, DEFAULTS.get(name)) and str(value) != str(has[name]) and value != has[name]:
            raise InputError(f"--{name} {value}: the run in {folder} has {has[name]} and goes on with it; {cure}")


def check_config(config: RunConfig, folder: Path) -> None:
    """Refuse a ``config.yaml`` that was changed since the run began.

    Raises:
        InputError: with the first value that is another.
    """
    started = read_started(folder)
    if started is None or started == to_dict(config):
        return
    key, was, found = _first_difference(started, to_dict(config))
    raise InputError(
        f"{folder / CONFIG}: {key} was {was!r} when the run began and is now {found!r}; change it back, or train "
        "anew with another --out"
    )


def _first_difference(was: Any, found: Any, key: str = "") -> tuple[str, Any, Any]:
    """Where two configurations differ, and the two values."""
    if isinstance(was, Mapping) and isinstance(found, Mapping):
        for name in [*was, *found]:
            if was.get(name) != found.get(name):
                return _first_difference(was.get(name), found.get(name), f"{key}.{name}" if key else name)
    return key, was, found


def reopen_unchanged(data: Path, config: RunConfig, folder: Path) -> Source:
    """The data of a run, as :func:`reopen` opens them, if they are those that the run began with.

    Raises:
        InputError: something was removed, added, replaced or labelled otherwise: what, and the cure.
    """
    try:
        source = reopen(data, config)
    except InputError as error:
        if read_started(folder) is None or not data.exists():
            raise
        raise InputError(f"{error}; if that changed since the run began, {CURE}") from None
    check_data(source, folder)
    return source


def check_data(source: Source, folder: Path) -> None:
    """Refuse data that are not those that the run in a folder began with.

    Raises:
        InputError: something was removed, added, replaced or labelled otherwise: what, and the cure.
    """
    before = read_identity(folder)
    if before is None:  # the run is older than the file
        return
    changed = difference(before, identify(source))
    if changed is not None:
        raise InputError(f"{source.path}: changed since the run in {folder} began: {changed}; {CURE}")
