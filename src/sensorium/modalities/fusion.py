"""Several signals as one: their rows side by side, told apart by a learned position (Perceiver §4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from math import nan
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..codecs.raw import Raw
from ..config import record
from ..errors import Absent, InputError, did_you_mean
from ..nn.byte_array import ByteArray, PointPositions, Segment, join
from ..nn.initialisation import truncated_normal
from .base import Batch, Modality, Sample
from .kinds import KINDS, SingleConfig


@record
class FusionConfig:
    """Which signals an example has.

    Attributes:
        modalities: each signal's own configuration, by the name it has in batches; several may be of one kind.
        modality_channels: the least channels of the learned position that tells a signal's rows from those of the
            others. It also fills up to the common width, so the signal with the most channels has the shortest one.
        dropout: the probability that training takes a signal, by name, away from an example as a whole.
    """

    kind: Literal["fusion"] = "fusion"
    modalities: dict[str, SingleConfig]
    modality_channels: int = 4
    dropout: dict[str, float] = field(default_factory=dict)


class Fusion(Modality):
    """Several modalities, the *modalities*, as one modality: a byte array of as many segments.

    A batch holds the fields of each modality, and ``<name>.present``, batch, bool: whether an example has this
    modality. Where that is missing all examples have it; where the modality itself is missing, none has. What is
    absent is masked, as a whole, in training and in inference.

    Pictures and sound keep step: where there is video, its clips say when the windows of all sound begin.

    >>> from .image import ImageConfig
    >>> from .text import TextConfig
    >>> modalities = {"photo": ImageConfig(size=(8, 8), bands=4), "words": TextConfig(length=16, channels=32)}
    >>> fusion = Fusion(FusionConfig(modalities=modalities))
    >>> fusion.embed({"photo": torch.rand(2, 3, 8, 8), "words": torch.zeros(2, 16)}).dense().shape
    torch.Size([2, 80, 36])
    """

    kind: ClassVar[str] = "fusion"
    ragged: ClassVar[bool] = True
    config: FusionConfig

    def __init__(self, config: FusionConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if not config.modalities or config.modality_channels < 1:
            raise InputError("fusion: give at least one modality, and a modality_embedding of at least one channel")
        for modality in config.modalities:
            if "." in modality or modality in ("", "target"):
                raise InputError(f"fusion: a modality cannot be called {modality!r}; rename it")
        for modality, probability in config.dropout.items():
            if modality not in config.modalities:
                told = did_you_mean(modality, config.modalities)
                raise InputError(f"fusion: dropout of {modality!r}, which is no modality; {told}")
            if not 0 <= probability <= 1:
                raise InputError(f"fusion: dropout of {modality!r} is {probability}; give a probability, 0 to 1")
        # A prefix, because users name modalities, and a module's children may not be called what its methods are.
        self.parts = nn.ModuleDict(
            {f"of_{name}": KINDS[part.kind](part, name=name) for name, part in config.modalities.items()}
        )
        width = max(modality.channels for modality in self.modalities) + config.modality_channels
        self.modality_embeddings = nn.ParameterDict(
            {
                f"of_{modality.name}": nn.Parameter(truncated_normal(torch.empty(width - modality.channels), 0.02))
                for modality in self.modalities
            }
        )

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Each modality, in the order of the configuration."""
        return tuple(self.parts.values())  # type: ignore[arg-type]

    def present_modalities(self, batch: Batch, index: int) -> tuple[Modality, ...]:
        there = [modality for modality in self.modalities if modality.name in batch]
        return tuple(modality for modality in there if bool(self._present(batch, modality.name)[index]))

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw], *, kinds: Mapping[str, str] | None = None) -> FusionConfig:
        """Each modality measured on the examples that have it.

        Args:
            raws: mappings from names to raws; None, or no such name: absent.
            kinds: the kind of signal of each name; None: names are kinds.

        Raises:
            Absent: no example has some modality.
            InputError: as the modalities' own ``measure``.
        """
        lines = [_line(raw) for raw in raws]
        kinds = kinds or {name: name for line in lines for name in line}
        return FusionConfig(
            modalities={
                name: _of_modality(
                    name, KINDS[kind].measure, [line[name] for line in lines if line.get(name) is not None]
                )
                for name, kind in kinds.items()
            }
        )

    def load(self, raw: Raw) -> Sample:
        """One example: a mapping from names to raws, in which None (or no such name) is an absent modality, as is a
        file that lacks the signal.

        Returns:
            the fields of each modality that is there, and ``<name>.present`` (bool) of all.

        Raises:
            Absent: all modalities are.
            InputError: as the modalities' own ``load``; the modality is named.
        """
        line = _line(raw)
        names = [modality.name for modality in self.modalities]
        for name in line:
            if name not in names:
                raise InputError(f"no modality is called {name!r}; {did_you_mean(name, names)}")
        sample: Sample = {}
        for modality in self.modalities:
            found: Sample = {}
            if line.get(modality.name) is not None:
                with suppress(Absent):
                    found = _of_modality(modality.name, modality.load, line[modality.name])
            sample |= {**found, f"{modality.name}.present": np.array(bool(found))}
        if not any(sample[f"{name}.present"] for name in names):
            raise Absent(f"it has none of {', '.join(names)}; remove it")
        return sample

    # -- from batches -------------------------------------------------------------------------------------------

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """Each modality's view, sound in step with the pictures."""
        leader, *others = self._in_step(batch)
        return self._follow(leader.view(batch), leader, others, _view)

    def views(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """As many as the modality that leads has, video if there is any; the others follow."""
        leader, *others = self._in_step(batch)
        for view in leader.views(batch):
            yield self._follow(view, leader, others, _view)

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Each modality varied by itself, sound in step with the pictures; then modalities are taken away
        (``dropout``), but never all that an example has."""
        leader, *others = self._in_step(batch)
        first = leader.augment(batch, generator)
        result = self._follow(first, leader, others, lambda modality, part: modality.augment(part, generator))
        chances = {modality.name: self.config.dropout.get(modality.name, 0.0) for modality in (leader, *others)}
        if not any(chances.values()):
            return result
        before = torch.stack([self._present(result, name) for name in chances])
        lot = torch.rand(before.shape, generator=generator, device=generator.device).to(before.device)
        after = before & (lot >= torch.tensor(list(chances.values()), device=lot.device)[:, None])
        after = torch.where(after.any(0), after, before)
        return result | {f"{name}.present": present for name, present in zip(chances, after, strict=True)}

    def embed(self, batch: Batch) -> ByteArray:
        """A segment per modality, named as it is. Rows of absent modalities are masked; of one that the batch does not
        have at all there are none."""
        examples = len(batch[self._in_step(batch)[0].name])
        return join([ByteArray((self._segment(modality, batch, examples),)) for modality in self.modalities])

    # -- rows and signal ----------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        return max(modality.channels for modality in self.modalities) + self.config.modality_channels

    @property
    def num_rows(self) -> int:
        return sum(modality.num_rows for modality in self.modalities)

    @property
    def elements_per_row(self) -> int:
        """The most of any modality."""
        return max(modality.elements_per_row for modality in self.modalities)

    def patchify(self, signal: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each modality's rows, by name."""
        return {
            modality.name: modality.patchify(signal[modality.name])
            for modality in self.modalities
            if modality.name in signal
        }

    def unpatchify(self, rows: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Each modality's rows, by name (as ``ByteArray.split`` gives them), in the shape of its signal."""
        return {
            modality.name: modality.unpatchify(rows[modality.name], batch)
            for modality in self.modalities
            if modality.name in batch
        }

    def attention_map(self, weights: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Each modality's map, by name."""
        pieces = self.embed(batch).split(weights)
        return {
            modality.name: modality.attention_map(pieces[modality.name], batch)
            for modality in self.modalities
            if modality.name in batch
        }

    # -- as an answer -------------------------------------------------------------------------------------------

    @property
    def position_channels(self) -> int:
        """The most of any modality."""
        return max(modality.position_channels for modality in self.modalities)

    def restore(self, rows: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:  # type: ignore[override]
        """Each modality's signal, by name."""
        return {
            modality.name: modality.restore(rows[modality.name], batch)
            for modality in self.modalities
            if modality.name in batch
        }

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, heat: Mapping[str, Tensor] | None = None) -> None:
        """The modalities that the example has, one below the other."""
        there = self.present_modalities(batch, index)
        axes.set_axis_off()
        room = 1 / max(1, len(there))
        for place, modality in enumerate(there):
            # Room for the title above and for the name of the axis below.
            inner = axes.inset_axes((0, 1 - (place + 0.77) * room, 1, 0.66 * room))
            inner.tick_params(labelsize=6)
            inner.set_title(modality.name, fontsize=7, loc="left", pad=2, parse_math=False)
            modality.draw(inner, batch, index, None if heat is None else heat[modality.name])
            inner.xaxis.label.set_fontsize(6)
            inner.yaxis.label.set_fontsize(6)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, modalities={[modality.name for modality in self.modalities]}"

    def _in_step(self, batch: Batch) -> list[Modality]:
        """The modalities that the batch has, video first and otherwise by name: whatever their order in a file is, the
        same random numbers vary the same modality.

        Raises:
            InputError: it has none.
        """
        there = [modality for modality in self.modalities if modality.name in batch]
        if not there:
            names = ", ".join(modality.name for modality in self.modalities)
            raise InputError(f"the batch has none of the model's modalities ({names}); name its fields so")
        return sorted(there, key=lambda modality: (modality.kind != "video", modality.name))

    def _follow(
        self,
        batch: Batch,
        leader: Modality,
        others: Sequence[Modality],
        look: Callable[[Modality, Batch], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """The batch after ``look`` at one modality after the other. Where the leader is a clip of a film, all sound and
        other video starts when it does."""
        result = dict(batch)
        start = result.get(f"{leader.name}.start") if leader.kind == "video" else None
        if start is not None:
            start = start.masked_fill(~self._present(batch, leader.name), nan)  # one that is absent leads nobody
            result |= {f"{modality.name}.start": start for modality in others if modality.kind in ("audio", "video")}
        for modality in others:
            result = look(modality, result)
        return result

    def _present(self, batch: Batch, name: str) -> Tensor:
        """Which examples have a modality that the batch has: bool, (batch,)."""
        signal = batch[name]
        present = batch.get(f"{name}.present")
        return torch.ones(len(signal), dtype=torch.bool, device=signal.device) if present is None else present

    def _segment(self, modality: Modality, batch: Batch, examples: int) -> Segment:
        modality_embedding = self.modality_embeddings[f"of_{modality.name}"]
        if modality.name not in batch:
            return Segment(
                modality.name,
                modality_embedding.new_zeros(examples, 0, modality.channels),
                modality_embedding=modality_embedding,
            )
        (segment,) = modality.embed(batch).segments
        present = batch.get(f"{modality.name}.present")
        if present is None:
            return replace(segment, modality_embedding=modality_embedding)
        # Zeros, for what stands where nothing is may be anything, NaN too.
        there = present[:, None, None]
        positions = segment.positions
        if isinstance(positions, PointPositions):
            positions = PointPositions(torch.where(there, positions.table, 0.0))
        mask = present[:, None].expand(segment.values.shape[:2])
        return replace(
            segment,
            values=torch.where(there, segment.values, 0.0),
            positions=positions,
            modality_embedding=modality_embedding,
            mask=mask if segment.mask is None else mask & segment.mask,
        )


def _view(modality: Modality, batch: Batch) -> dict[str, Tensor]:
    return modality.view(batch)


def _line(raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise InputError(f"an example is a mapping from names to signals, not {type(raw).__name__}")
    return raw


def _of_modality(name: str, look: Callable[[Any], Any], raw: Any) -> Any:
    """``look(raw)``; what is wrong with it is told with the name of the modality.

    Raises:
        Absent, InputError: as ``look``.
    """
    try:
        return look(raw)
    except Absent:
        raise
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
