"""What the command line shows of explanations."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..inference.latent_maps import LatentMapsConfig
from ..report.explanation import explain_files
from .answers import print_answers
from .display import Display
from .options import ExplainOptions


def show_explanations(
    run: Path, files: Sequence[Path], *, out: Path | None, json: bool, device: str, options: ExplainOptions
) -> None:
    """Explain and print: a table and where the page is, or JSON lines.

    Args:
        run, files, out, device: as for :func:`sensorium.explain_files`.
        json: whether to print JSON lines.
    """
    latent_maps = latent_maps_config(options)
    with Display() as listener:

        def progress(done: int, total: int) -> None:
            if not done:
                listener.stage("explaining")
            listener.progress(done / total, {})

        explanation = explain_files(
            run,
            files,
            out=out,
            device=device,
            progress=progress,
            methods=options.method or None,
            of_class=options.of_class,
            latent_maps=latent_maps,
        )
    rows = [answer.to_dict() for answer in explanation.answers]
    if json:
        for row in rows:
            print(json_module.dumps(row, ensure_ascii=False))
        return
    print_answers(rows)
    if explanation.drawn < len(rows):
        print(f"drawn: the first {explanation.drawn} of {len(rows):,} examples; {explanation.maps} has all")
    print(f"explanation: {explanation.page}")


def latent_maps_config(options: ExplainOptions) -> LatentMapsConfig | None:
    """Which maps of single latents the options ask for; None: none.

    Raises:
        InputError: numbers that cannot be read.
    """
    if not (options.latents or options.heads or options.cross_attend or options.before_softmax):
        return None
    return LatentMapsConfig(
        latents="first" if options.latents is None else numbers(options.latents, "--latents"),
        heads="mean" if options.heads is None else numbers(options.heads, "--heads"),
        cross_attends="all" if options.cross_attend is None else numbers(options.cross_attend, "--cross-attend"),
        before_softmax=options.before_softmax,
    )


def numbers(text: str, option: str) -> tuple[int, ...] | Literal["all"]:
    """Numbers and ranges, counted from 1 as people do, as numbers from 0.

    Raises:
        InputError: something else.

    >>> numbers("1-3,8", "--latents"), numbers("all", "--heads")
    ((0, 1, 2, 7), 'all')
    """
    if text == "all":
        return "all"
    found: list[int] = []
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        if not first.strip().isdecimal() or not (last or first).strip().isdecimal() or int(first) < 1:
            raise InputError(f"{option} {text}: give numbers from 1 and ranges, such as 1-16,20, or all")
        found += range(int(first) - 1, int(last or first))
    return tuple(found)
