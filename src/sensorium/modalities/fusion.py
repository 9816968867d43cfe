"""Several signals as one: their rows side by side, told apart by a learned code (Perceiver §4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from math import nan
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..arrays import ByteArray, RowCodes, Segment, join
from ..config import record
from ..core.initialise import truncated_normal
from ..errors import Absent, InputError, did_you_mean
from .base import Batch, Modality, Raw, Sample
from .kinds import KINDS, SenseConfig


@record
class FusionConfig:
    """Which signals an example has.

    Attributes:
        modalities: each signal's own configuration, by the name it has in batches; several may be of one kind.
        marker: the least channels of the learned code that tells a signal's rows from those of the others. It also
            fills up to the common width, so the signal with the most channels has the shortest one.
        dropout: the probability that training takes a signal, by name, away from an example as a whole.
    """

    kind: Literal["fusion"] = "fusion"
    modalities: dict[str, SenseConfig]
    marker: int = 4
    dropout: dict[str, float] = field(default_factory=dict)


class Fusion(Modality):
    """Several modalities, the *senses*, as one modality: a byte array of as many segments.

    A batch holds the fields of each sense, and ``<name>.present``, batch, bool: whether an example has this sense.
    Where that is missing all examples have it; where the sense itself is missing, none has. What is absent is masked,
    as a whole, in training and in inference.

    Pictures and sound keep step: where there is video, its clips say when the windows of all sound begin.

    >>> from .image import ImageConfig
    >>> from .text import TextConfig
    >>> senses = {"photo": ImageConfig(size=(8, 8), bands=4), "words": TextConfig(length=16, channels=32)}
    >>> fusion = Fusion(FusionConfig(modalities=senses))
    >>> fusion.embed({"photo": torch.rand(2, 3, 8, 8), "words": torch.zeros(2, 16)}).dense().shape
    torch.Size([2, 80, 36])
    """

    kind: ClassVar[str] = "fusion"
    ragged: ClassVar[bool] = True
    config: FusionConfig

    def __init__(self, config: FusionConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if not config.modalities or config.marker < 1:
            raise InputError("fusion: give at least one modality, and a marker of at least one channel")
        for sense in config.modalities:
            if "." in sense or sense in ("", "target"):
                raise InputError(f"fusion: a modality cannot be called {sense!r}; rename it")
        for sense, probability in config.dropout.items():
            if sense not in config.modalities:
                told = did_you_mean(sense, config.modalities)
                raise InputError(f"fusion: dropout of {sense!r}, which is no modality; {told}")
            if not 0 <= probability <= 1:
                raise InputError(f"fusion: dropout of {sense!r} is {probability}; give a probability, 0 to 1")
        # A prefix, because users name senses, and a module's children may not be called what its methods are.
        self.parts = nn.ModuleDict(
            {f"of_{name}": KINDS[part.kind](part, name=name) for name, part in config.modalities.items()}
        )
        width = max(sense.channels for sense in self.senses) + config.marker
        self.markers = nn.ParameterDict(
            {
                f"of_{sense.name}": nn.Parameter(truncated_normal(torch.empty(width - sense.channels), 0.02))
                for sense in self.senses
            }
        )

    @property
    def senses(self) -> tuple[Modality, ...]:
        """Each modality, in the order of the configuration."""
        return tuple(self.parts.values())  # type: ignore[arg-type]

    def senses_of(self, batch: Batch, index: int) -> tuple[Modality, ...]:
        there = [sense for sense in self.senses if sense.name in batch]
        return tuple(sense for sense in there if bool(self._present(batch, sense.name)[index]))

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw], *, kinds: Mapping[str, str] | None = None) -> FusionConfig:
        """Each sense measured on the examples that have it.

        Args:
            raws: mappings from names to raws; None, or no such name: absent.
            kinds: the kind of signal of each name; None: names are kinds.

        Raises:
            Absent: no example has some sense.
            InputError: as the senses' own ``measure``.
        """
        lines = [_line(raw) for raw in raws]
        kinds = kinds or {name: name for line in lines for name in line}
        return FusionConfig(
            modalities={
                name: _of_sense(name, KINDS[kind].measure, [line[name] for line in lines if line.get(name) is not None])
                for name, kind in kinds.items()
            }
        )

    def read(self, raw: Raw) -> Sample:
        """One example: a mapping from names to raws, in which None (or no such name) is an absent sense, as is a file
        that lacks the signal.

        Returns:
            the fields of each sense that is there, and ``<name>.present`` (bool) of all.

        Raises:
            Absent: all senses are.
            InputError: as the senses' own ``read``; the sense is named.
        """
        line = _line(raw)
        names = [sense.name for sense in self.senses]
        for name in line:
            if name not in names:
                raise InputError(f"no modality is called {name!r}; {did_you_mean(name, names)}")
        sample: Sample = {}
        for sense in self.senses:
            found: Sample = {}
            if line.get(sense.name) is not None:
                with suppress(Absent):
                    found = _of_sense(sense.name, sense.read, line[sense.name])
            sample |= {**found, f"{sense.name}.present": np.array(bool(found))}
        if not any(sample[f"{name}.present"] for name in names):
            raise Absent(f"it has none of {', '.join(names)}; remove it")
        return sample

    # -- from batches -------------------------------------------------------------------------------------------

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """Each sense's view, sound in step with the pictures."""
        leader, *others = self._in_step(batch)
        return self._follow(leader.view(batch), leader, others, _view)

    def views(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """As many as the sense that leads has, video if there is any; the others follow."""
        leader, *others = self._in_step(batch)
        for view in leader.views(batch):
            yield self._follow(view, leader, others, _view)

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Each sense varied by itself, sound in step with the pictures; then senses are taken away (``dropout``), but
        never all that an example has."""
        leader, *others = self._in_step(batch)
        first = leader.augment(batch, generator)
        result = self._follow(first, leader, others, lambda sense, part: sense.augment(part, generator))
        chances = {sense.name: self.config.dropout.get(sense.name, 0.0) for sense in (leader, *others)}
        if not any(chances.values()):
            return result
        before = torch.stack([self._present(result, name) for name in chances])
        lot = torch.rand(before.shape, generator=generator, device=generator.device).to(before.device)
        after = before & (lot >= torch.tensor(list(chances.values()), device=lot.device)[:, None])
        after = torch.where(after.any(0), after, before)
        return result | {f"{name}.present": present for name, present in zip(chances, after, strict=True)}

    def embed(self, batch: Batch) -> ByteArray:
        """A segment per sense, named as it is. Rows of absent senses are masked; of one that the batch does not have
        at all there are none."""
        examples = len(batch[self._in_step(batch)[0].name])
        return join([ByteArray((self._segment(sense, batch, examples),)) for sense in self.senses])

    # -- rows and signal ----------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        return max(sense.channels for sense in self.senses) + self.config.marker

    @property
    def rows(self) -> int:
        return sum(sense.rows for sense in self.senses)

    @property
    def elements(self) -> int:
        """The most of any sense."""
        return max(sense.elements for sense in self.senses)

    def unfold(self, signal: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each sense's rows, by name."""
        return {sense.name: sense.unfold(signal[sense.name]) for sense in self.senses if sense.name in signal}

    def fold(self, rows: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Each sense's rows, by name (as ``ByteArray.split`` gives them), in the shape of its signal."""
        return {sense.name: sense.fold(rows[sense.name], batch) for sense in self.senses if sense.name in batch}

    def spread(self, weights: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Each sense's map, by name."""
        pieces = self.embed(batch).split(weights)
        return {sense.name: sense.spread(pieces[sense.name], batch) for sense in self.senses if sense.name in batch}

    # -- as an answer -------------------------------------------------------------------------------------------

    @property
    def code_channels(self) -> int:
        """The most of any sense."""
        return max(sense.code_channels for sense in self.senses)

    def restore(self, rows: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:  # type: ignore[override]
        """Each sense's signal, by name."""
        return {sense.name: sense.restore(rows[sense.name], batch) for sense in self.senses if sense.name in batch}

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, heat: Mapping[str, Tensor] | None = None) -> None:
        """The senses that the example has, one below the other."""
        there = self.senses_of(batch, index)
        axes.set_axis_off()
        room = 1 / max(1, len(there))
        for place, sense in enumerate(there):
            # Room for the title above and for the name of the axis below.
            inner = axes.inset_axes((0, 1 - (place + 0.77) * room, 1, 0.66 * room))
            inner.tick_params(labelsize=6)
            inner.set_title(sense.name, fontsize=7, loc="left", pad=2, parse_math=False)
            sense.draw(inner, batch, index, None if heat is None else heat[sense.name])
            inner.xaxis.label.set_fontsize(6)
            inner.yaxis.label.set_fontsize(6)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, senses={[sense.name for sense in self.senses]}"

    def _in_step(self, batch: Batch) -> list[Modality]:
        """The senses that the batch has, video first and otherwise by name: whatever their order in a file is, the same
        random numbers vary the same sense.

        Raises:
            InputError: it has none.
        """
        there = [sense for sense in self.senses if sense.name in batch]
        if not there:
            names = ", ".join(sense.name for sense in self.senses)
            raise InputError(f"the batch has none of the model's modalities ({names}); name its fields so")
        return sorted(there, key=lambda sense: (sense.kind != "video", sense.name))

    def _follow(
        self,
        batch: Batch,
        leader: Modality,
        others: Sequence[Modality],
        look: Callable[[Modality, Batch], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """The batch after ``look`` at one sense after the other. Where the leader is a clip of a film, all sound and
        other video starts when it does."""
        result = dict(batch)
        start = result.get(f"{leader.name}.start") if leader.kind == "video" else None
        if start is not None:
            start = start.masked_fill(~self._present(batch, leader.name), nan)  # one that is absent leads nobody
            result |= {f"{sense.name}.start": start for sense in others if sense.kind in ("audio", "video")}
        for sense in others:
            result = look(sense, result)
        return result

    def _present(self, batch: Batch, name: str) -> Tensor:
        """Which examples have a sense that the batch has: bool, (batch,)."""
        signal = batch[name]
        present = batch.get(f"{name}.present")
        return torch.ones(len(signal), dtype=torch.bool, device=signal.device) if present is None else present

    def _segment(self, sense: Modality, batch: Batch, examples: int) -> Segment:
        marker = self.markers[f"of_{sense.name}"]
        if sense.name not in batch:
            return Segment(sense.name, marker.new_zeros(examples, 0, sense.channels), marker=marker)
        (segment,) = sense.embed(batch).segments
        present = batch.get(f"{sense.name}.present")
        if present is None:
            return replace(segment, marker=marker)
        # Zeros, for what stands where nothing is may be anything, NaN too.
        there = present[:, None, None]
        codes = segment.codes
        if isinstance(codes, RowCodes):
            codes = RowCodes(torch.where(there, codes.table, 0.0))
        mask = present[:, None].expand(segment.values.shape[:2])
        return replace(
            segment,
            values=torch.where(there, segment.values, 0.0),
            codes=codes,
            marker=marker,
            mask=mask if segment.mask is None else mask & segment.mask,
        )


def _view(sense: Modality, batch: Batch) -> dict[str, Tensor]:
    return sense.view(batch)


def _line(raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise InputError(f"an example is a mapping from names to signals, not {type(raw).__name__}")
    return raw


def _of_sense(name: str, look: Callable[[Any], Any], raw: Any) -> Any:
    """``look(raw)``; what is wrong with it is told with the name of the sense.

    Raises:
        Absent, InputError: as ``look``.
    """
    try:
        return look(raw)
    except Absent:
        raise
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
