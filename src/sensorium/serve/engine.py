"""A trained model that answers requests: files are decoded side by side, and examples are answered together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from ..codecs import bounds
from ..data import Unlabelled
from ..errors import InputError
from ..inference.attention_maps import attention_maps, attention_shares
from ..inference.embed import embed_batch
from ..inference.evaluate import examples_at_a_time
from ..inference.opened import DecodedExample, DecodedExamples, OpenedFiles, answer_inputs, load_run, opened
from ..inference.predict import answer_together
from ..modalities import Batch
from ..models.perceiver import Perceiver
from ..tasks import Answer, AnyPrediction
from ..threads import thread_pool
from .batching import Batcher
from .drawings import array, drawing, predicted_pictures
from .limits import Limits, Refused, memory_used
from .metrics import Metrics

T = TypeVar("T")


@dataclass(frozen=True)
class Predict:
    """Say what an example is.

    Attributes:
        top: how many classes to name.
    """

    top: int = 3


@dataclass(frozen=True)
class Explain:
    """Say what an example is, and where the model attends.

    Attributes:
        top: how many classes to name.
        cross_attend: whose map: the number of a cross-attend, from 0; negative numbers count from the last one.
    """

    top: int = 3
    cross_attend: int = -1


@dataclass(frozen=True)
class Embed:
    """Give the vector of an example."""


Operation: TypeAlias = Predict | Explain | Embed
Opener: TypeAlias = Callable[[], Unlabelled]


@dataclass(frozen=True)
class Outcome:
    """What a request is answered with.

    Attributes:
        answers: for each example, in order: its answer, with vector or attention where that was wanted.
        notes: what people should know, such as files that were left out.
    """

    answers: list[dict[str, Any]]
    notes: tuple[str, ...] = ()


class Engine:
    """The model of a run behind a queue.

    Args:
        run: a run or weights folder, or a model.
        limits: of requests.
        device: as of :func:`sensorium.predict`.
        metrics: what is counted.

    Raises:
        InputError: there is no model or device.
    """

    def __init__(self, run: str | Path | Perceiver, *, limits: Limits, metrics: Metrics, device: str = "auto") -> None:
        self.model, self.description = load_run(run, device=device)
        self.name = "model" if isinstance(run, Perceiver) else Path(run).resolve().name
        self.limits, self.metrics = limits, metrics
        self.batch_size = examples_at_a_time(self.model)
        self._batcher: Batcher[DecodedExample, dict[str, Any]] = Batcher(
            self._answer, most=self.batch_size, latency=limits.latency
        )
        self._decoders = thread_pool(limits.decoders, "decoder")
        metrics.observe_queue(lambda: len(self._batcher))

    def close(self) -> None:
        """Answer what waits, and end the threads."""
        self._decoders.shutdown(cancel_futures=True)
        self._batcher.close()

    async def answers(self, open_examples: Opener, operation: Operation) -> Outcome:
        """The answers to the examples that ``open_examples`` finds, which is called in a thread that may take long.

        Raises:
            InputError: not one example can be read.
            Refused: there are too many, or memory is short.
        """
        if isinstance(operation, Explain):
            self._check_cross_attend(operation.cross_attend)
        found = await self.in_pool(open_examples)
        examples = opened(self.model, found, self.description)
        if len(examples) > self.limits.examples:
            raise Refused(
                422, f"{len(examples):,} examples, {self.limits.examples:,} are the most; send several requests"
            )
        answered: list[dict[str, Any]] = []
        frames = 0
        for start in range(0, len(examples), self.batch_size):
            indices = range(start, min(start + self.batch_size, len(examples)))
            decoded = await self.in_pool(self._decode, examples, indices, frames)
            frames += sum(self._answered_pixels(example) for example in decoded)
            answered += await asyncio.gather(*(self._queued(operation, example) for example in decoded))
        if all("error" in answer for answer in answered):
            first = answered[0]
            raise InputError(f"{first['file']}: {first['error']}")
        return Outcome(answered, examples.notes)

    async def in_pool(self, function: Callable[..., T], *arguments: Any) -> T:
        """The result of a function in one of the threads that decode, with the bounds of the server.

        Raises:
            Refused: memory is short.
        """
        if memory_used() > self.limits.most_memory:
            raise Refused(503, "the server is short of memory; try again", retry_after=2)

        def bounded() -> T:
            with bounds.lowered(self.limits.lower_bounds):
                return function(*arguments)

        return await asyncio.get_running_loop().run_in_executor(self._decoders, bounded)

    def _decode(self, examples: OpenedFiles, indices: Sequence[int], frames: int) -> list[DecodedExample | Answer]:
        """Examples as arrays; in the place of one that cannot be read, the answer that says why.

        Args:
            frames: pixels of the request's examples before these whose motion is predicted.

        Raises:
            Refused: with these, there are too many.
        """
        decoded: list[DecodedExample | Answer] = []
        with self.metrics.decoding():
            for index in indices:
                name, found = examples.names[index], examples.decode_whole(index)
                if isinstance(found, str):
                    decoded.append(Answer(name, None, target=examples.target, error=found))
                    continue
                raw, sample = found
                decoded.append(DecodedExample(name, raw, sample, examples.target, examples.remarks(index)))
                frames += self._answered_pixels(decoded[-1])
                if frames > self.limits.frames:
                    raise Refused(
                        422,
                        f"motion of {frames:,} pixels or more, {self.limits.frames:,} are the most in a request;"
                        " send fewer or smaller frames",
                    )
        return decoded

    def _answered_pixels(self, example: DecodedExample | Answer) -> int:
        return 0 if isinstance(example, Answer) else self.model.task.answered_pixels(example.raw)

    async def _queued(self, operation: Operation, example: DecodedExample | Answer) -> dict[str, Any]:
        if isinstance(example, Answer):
            return example.to_dict()
        try:
            return await asyncio.wrap_future(self._batcher.submit(operation, example))
        except RuntimeError as error:
            if "queue is closed" not in str(error):
                raise
            raise Refused(503, "the server is closing; try again", retry_after=2) from None

    # -- in the model's thread ----------------------------------------------------------------------------------

    def _answer(self, operation: Operation, examples: list[DecodedExample]) -> list[dict[str, Any]]:
        with self.metrics.computing(len(examples)):
            if isinstance(operation, Embed):
                return self._embed(examples)
            together = DecodedExamples(self.model, examples)
            found = answer_together(self.model, together, top=operation.top, predict=self._predict_in_time())
            if isinstance(operation, Predict):
                return [_with_flow(answer) for answer in found]
            return [self._explain(operation, example, answer) for example, answer in zip(examples, found, strict=True)]

    def _predict_in_time(self) -> Callable[[Batch], AnyPrediction]:
        """The model, as long as a request may take: large frames are many calls."""
        until = time.monotonic() + self.limits.time

        def predict(view: Batch) -> AnyPrediction:
            if time.monotonic() > until:
                raise InputError(f"it took longer than {self.limits.time:g} seconds; send a smaller one")
            return self.model.predict_view(view)

        return predict

    def _embed(self, examples: list[DecodedExample]) -> list[dict[str, Any]]:
        try:
            batch = DecodedExamples(self.model, examples).batch(range(len(examples)))
            vectors = embed_batch(self.model, batch).cpu().tolist()
        except InputError as error:
            if len(examples) == 1:
                return [{"file": examples[0].name, "error": str(error)}]
            return [self._embed([example])[0] for example in examples]
        return [
            {"file": example.name, "vector": vector, **({"remarks": list(example.remarks)} if example.remarks else {})}
            for example, vector in zip(examples, vectors, strict=True)
        ]

    def _explain(self, operation: Explain, example: DecodedExample, answer: Answer) -> dict[str, Any]:
        """The answer with the map of one cross-attend over each signal, and each signal's share of all of them."""
        if answer.error is not None:
            return answer.to_dict()
        view = answer_inputs(self.model, DecodedExamples(self.model, [example]), 0)
        count = len(self.model.cross_attends)
        number = operation.cross_attend % count
        attention = attention_maps(self.model, view)[number]
        present = self.model.inputs.present_modalities(view, 0)
        if len(self.model.inputs.modalities) > 1:
            by_attend = attention_shares(self.model, view)
            shares = [{part.name: float(share[part.name][0]) for part in present} for share in by_attend]
            answer = replace(answer, shares=shares)
        maps = attention if isinstance(attention, Mapping) else {part.name: attention for part in present}
        signals = {part.name: drawing(part, view, maps[part.name]) for part in present}
        facts = {**answer.to_dict(), "cross_attend": number, "cross_attends": count, "signals": signals}
        if self.model.task.per_example:
            return facts
        pictures = predicted_pictures(self.model, view, example.raw, answer)
        return {**facts, "pictures": pictures, "legend": self.model.task.illustration_legend}

    def _check_cross_attend(self, number: int) -> None:
        count = len(self.model.cross_attends)
        if not count:
            raise InputError("this model has no cross-attends, so it has no attention maps")
        if not -count <= number < count:
            raise InputError(f"there is no cross-attend {number}: the model has {count}, counted from 0")


def _with_flow(answer: Answer) -> dict[str, Any]:
    return answer.to_dict() if answer.flow is None else {**answer.to_dict(), "flow": array(answer.flow)}


def finite(value: Any) -> Any:
    """A value for JSON, which has no NaN and no infinity: None in their place.

    >>> finite({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    return [finite(part) for part in value] if isinstance(value, list | tuple) else value
