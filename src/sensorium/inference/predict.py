"""What a trained model says of files, and of anything that Python holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import ending
from ..modalities import Batch
from ..models.perceiver import Perceiver
from ..tasks import Answer, AnyPrediction
from .answer_files import SUFFIXES, Columns, number_names, write_answers
from .evaluate import examples_at_a_time
from .opened import DecodedExamples, OpenedFiles, open_run

Progress = Callable[[int, int], None]  # called with the number of finished examples and of all


def predict(
    run: str | Path | Perceiver,
    anything: Any,
    *,
    top: int = 3,
    out: str | Path | None = None,
    strict: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[Answer]:
    """What a trained model says of each example, in order.

    Examples are decoded and answered in batches. One that cannot be read gets an answer with an ``error``; the others
    are answered all the same.

    Args:
        run: a run or weights folder, or a model.
        anything: one of these, or a list of them:

            * the path of a file or of a folder, which stands for every file below it that the model reads. A text that
              is not the path of something is the example itself for models that read text;
            * a numpy array or a torch tensor that is one example, or many along the first axis;
            * a table of pandas, polars or pyarrow, or a dict of columns: an example in each row;
            * a dict with the values of a table's row by their names, or with the signals of an example by the names of
              the modalities, or with arrays of many examples;
            * a picture of Pillow's, the bytes of a file, or a text.

            Pairs of frames are two files after one another, tuples, or folders, which may also hold their flow.
        top: how many classes to name, the likeliest first; of regression, every target is named.
        out: a file that ends in .csv, .parquet or .jsonl: a table of the answers, which is written whole or not at all.
            Else the folder for predicted signals; by default the folder ``reconstructed`` or ``flow`` in the run.
        strict: whether an example that cannot be read, or about which there are remarks, is an error. Nothing is
            written then.
        device: where it is computed, as of :func:`open_run`.
        progress: called with the number of answered examples and of all.

    Raises:
        InputError: there is no model, or nothing that it reads, or not one example can be read; with ``strict``, any.
    """
    model, examples = open_run(run, anything, device=device)
    found = predict_opened(run, model, examples, top=top, out=out, strict=strict, progress=progress)
    return list(found)


def predict_opened(
    run: str | Path | Perceiver,
    model: Perceiver,
    examples: OpenedFiles,
    *,
    top: int = 3,
    out: str | Path | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Iterator[Answer]:
    """As :func:`predict`, of examples that are open already, one after the other. With ``strict`` and where there is a
    table to write, the first answer comes when all are known."""
    file = Path(out) if out is not None and ending(out) in SUFFIXES else None
    folder = Path(out) if out is not None and file is None else None
    if folder is None and not isinstance(run, Perceiver):
        folder = Path(run, model.task.answers_folder)
    classes = len(model.task.classes)
    # A table has a column for each class, whatever is shown of them.
    found = iter_answers(
        model, examples, top=top if file is None else max(top, classes), folder=folder, strict=strict, progress=progress
    )
    if file is None:
        return iter(list(found)) if strict else found
    shown: list[Answer] = []

    def pass_on() -> Iterator[Answer]:
        for answer in found:
            ranked = not isinstance(answer.answer, dict)
            shown.append(replace(answer, scores=dict(list(answer.scores.items())[:top])) if ranked else answer)
            yield answer

    numbers = model.task.label_type == "numbers"
    write_answers(file, pass_on(), Columns.of_model(model.task.classes, target=examples.target, numbers=numbers))
    return iter(shown)


def answers(model: Perceiver, examples: OpenedFiles, *, top: int = 3, folder: Path | None = None) -> list[Answer]:
    """What a model says of each example.

    Args:
        top: how many classes to name.
        folder: where to write predicted signals; None: they are not written, and only what can be said in words is.

    Raises:
        InputError: an example that cannot be read or answered.
    """
    found = list(iter_answers(model, examples, top=top, folder=folder))
    for answer in found:
        if answer.error is not None:
            raise InputError(f"{answer.file}: {answer.error}")
    return found


def iter_answers(
    model: Perceiver,
    examples: OpenedFiles,
    *,
    top: int = 3,
    folder: Path | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Iterator[Answer]:
    """What a model says of each example, batch by batch; of one that cannot be read or answered, why.

    Args:
        top, folder: as for :func:`answers`.
        strict: whether such an example, or remarks about one, are an error.
        progress: called with the number of answered examples and of all.

    Raises:
        InputError: not one example can be read; with ``strict``, any cannot, or there are remarks about it.
    """
    total = len(examples)
    if strict:
        _check_remarks(examples)
    size = examples_at_a_time(model) if model.task.per_example else 1
    if strict and not model.task.per_example:
        size = total  # the task reads them all before it writes the first one
    failed: list[Answer] | None = []  # those before the first answer; None: there was one
    for start in range(0, total, size):
        indices = range(start, min(start + size, total))
        for answer in answer_together(model, examples.part(indices), top=top, folder=folder, strict=strict):
            if failed is not None and answer.error is not None:
                failed.append(answer)
                continue
            yield from chain(failed or (), (answer,))
            failed = None
        if progress is not None:
            progress(indices.stop, total)
    if failed:
        more = f" (none of {total:,} examples can be read)" if total > 1 else ""
        raise InputError(f"{failed[0].file}: {failed[0].error}{more}")


def _check_remarks(examples: OpenedFiles) -> None:
    """Refuse examples about which there are remarks."""
    for index in range(len(examples)):
        if remarks := examples.remarks(index):
            raise InputError(f"{examples.names[index]}: {remarks[0]}; correct it, or leave out --strict")


def answer_together(
    model: Perceiver,
    examples: OpenedFiles | DecodedExamples,
    *,
    top: int = 3,
    folder: Path | None = None,
    strict: bool = False,
    predict: Callable[[Batch], AnyPrediction] | None = None,
) -> list[Answer]:
    """The answers to some examples, in one batch where the task can; what cannot be answered has an ``error``, and the
    others are answered without it. Arguments as of :func:`iter_answers`; ``predict`` is called instead of the model's
    ``predict_view``.

    Raises:
        InputError: with ``strict``, an example that cannot be answered.
    """
    count = len(examples)
    try:
        found = model.task.answers(predict or model.predict_view, examples, top=top, batch_size=count, folder=folder)
    except InputError as error:
        if strict:
            raise
        if count == 1:
            name = examples.names[0]
            return [Answer(name, None, target=examples.target, error=str(error).removeprefix(f"{name}: "))]
        readable = [index for index in range(count) if index not in examples.problems]
        # Those that cannot be read are known now; an example that cannot be answered is found by halves.
        parts = [readable] if examples.problems else [readable[: count // 2], readable[count // 2 :]]
        answered = {
            index: answer
            for part in filter(None, parts)
            for index, answer in zip(
                part,
                answer_together(model, examples.part(part), top=top, folder=folder, strict=strict, predict=predict),
                strict=True,
            )
        }
        for index, problem in examples.problems.items():
            answered[index] = Answer(examples.names[index], None, target=examples.target, error=problem)
        return [answered[index] for index in range(count)]
    return [_named(answer, examples, index) for index, answer in enumerate(found)]


def _named(answer: Answer, examples: OpenedFiles | DecodedExamples, index: int) -> Answer:
    """The answer with the target's name and the remarks on its example."""
    answer = replace(answer, target=examples.target, remarks=examples.remarks(index))
    if not isinstance(answer.answer, dict):
        return answer
    named = dict(zip(number_names(list(answer.answer), examples.target), answer.answer.values(), strict=True))
    return replace(answer, answer=named, scores=named)
