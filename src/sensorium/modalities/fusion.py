"""Several signals as one: the rows of all, marked by a learned embedding of their modality (Perceiver §4.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from enum import Enum
from math import nan
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..codecs.raw import Raw
from ..config import record
from ..errors import Absent, InputError, did_you_mean
from ..nn.byte_array import ByteArray, PointPositions, Segment, join
from ..nn.initialisation import truncated_normal
from .base import Batch, Modality, Sample, T
from .kinds import KINDS, SingleConfig


class Withheld(Enum):
    """Of one member, which pickling keeps one: the raw of a signal that is taken away from an example, which may then
    have nothing left."""

    WITHHELD = "withheld"


WITHHELD = Withheld.WITHHELD


@record
class FusionConfig:
    """Which signals an example has.

    Attributes:
        modalities: the configuration of each signal, by its name in batches; several may be of one kind.
        modality_channels: the channels of the shortest modality embedding, the learned vector that marks the rows of a
            signal. The embedding also pads rows to the common number of channels, so the signal with the most channels
            has the shortest embedding.
        dropout: the probability, for each signal by name, that training masks it in an example as a whole.
    """

    kind: Literal["fusion"] = "fusion"
    modalities: dict[str, SingleConfig]
    modality_channels: int = 4
    dropout: dict[str, float] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """Of all signals together."""
        return sum(modality.num_rows for modality in self.modalities.values())

    @property
    def row_channels(self) -> int:
        """The most channels of any signal, and the shortest modality embedding."""
        return max(modality.row_channels for modality in self.modalities.values()) + self.modality_channels

    @property
    def elements_per_row(self) -> int:
        """The most of any signal."""
        return max(modality.elements_per_row for modality in self.modalities.values())

    @property
    def position_channels(self) -> int:
        """The most of any signal."""
        return max(modality.position_channels for modality in self.modalities.values())

    @property
    def value_channels(self) -> int:
        """The most of any signal."""
        return max(modality.value_channels for modality in self.modalities.values())


class Fusion(Modality[FusionConfig]):
    """Several modalities as one modality: a byte array with a segment for each.

    A batch holds the fields of each modality, and ``<name>.present``, batch, bool: whether an example has this
    modality. Without that field all examples have it; without the field ``<name>``, none has it. An absent modality is
    masked as a whole, in training and in inference.

    Signals in time keep step: where a modality leads (video), the clips and windows of the others (other video, sound)
    start at the same moment.

    >>> from .image import ImageConfig
    >>> from .text import TextConfig
    >>> modalities = {"photo": ImageConfig(size=(8, 8), bands=4), "words": TextConfig(length=16, channels=32)}
    >>> fusion = Fusion(FusionConfig(modalities=modalities))
    >>> fusion.embed({"photo": torch.rand(2, 3, 8, 8), "words": torch.zeros(2, 16)}).dense().shape
    torch.Size([2, 80, 36])
    """

    kind: ClassVar[str] = "fusion"
    ragged: ClassVar[bool] = True

    def __init__(self, config: FusionConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if not config.modalities or config.modality_channels < 1:
            raise InputError("fusion: give at least one modality, and modality_channels of at least 1")
        for modality in config.modalities:
            if "." in modality or modality in ("", "target"):
                raise InputError(f"fusion: a modality cannot be called {modality!r}; rename it")
        for modality, probability in config.dropout.items():
            if modality not in config.modalities:
                cure = did_you_mean(modality, config.modalities)
                raise InputError(f"fusion: dropout of {modality!r}, which is no modality; {cure}")
            if not 0 <= probability <= 1:
                raise InputError(f"fusion: dropout of {modality!r} is {probability}; give a probability, 0 to 1")
        # A prefix, because users name modalities, and a module's children may not be called what its methods are.
        parts = {f"of_{name}": KINDS[part.kind](part, name=name) for name, part in config.modalities.items()}
        self.parts = nn.ModuleDict(parts)
        self.augments_on_host = any(modality.augments_on_host for modality in self.modalities)
        self.modality_embeddings = nn.ParameterDict(
            {
                f"of_{modality.name}": nn.Parameter(
                    truncated_normal(torch.empty(config.row_channels - modality.channels), 0.02)
                )
                for modality in self.modalities
            }
        )

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities, in the order of the configuration."""
        return tuple(self.parts.values())  # type: ignore[arg-type]

    def present_modalities(self, batch: Batch, index: int) -> tuple[Modality, ...]:
        """The modalities that example ``index`` of a batch has."""
        return tuple(
            modality
            for modality in self.modalities
            if modality.name in batch and bool(self._present(batch, modality.name)[index])
        )

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw], *, kinds: Mapping[str, str] | None = None) -> FusionConfig:
        """The configuration of each modality, measured on the examples that have it.

        Args:
            raws: mappings from names to raws; a modality whose raw is None or missing is absent.
            kinds: the kind of signal of each name; None: names are kinds.

        Raises:
            Absent: there is a modality that no example has.
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
        """One example.

        Args:
            raw: a mapping from names to raws; a modality is absent whose raw is None, ``WITHHELD`` or missing, or a
                file without the signal (a film without sound).

        Returns:
            the fields of each modality that is present, and ``<name>.present`` (bool) of all.

        Raises:
            Absent: all modalities are absent, and none is withheld.
            InputError: as the modalities' own ``load``, with the name of the modality.
        """
        line, withheld = _not_withheld(raw)
        names = [modality.name for modality in self.modalities]
        for name in line:
            if name not in names:
                raise InputError(f"no modality is called {name!r}; {did_you_mean(name, names)}")
        sample: Sample = {}
        for modality in self.modalities:
            part: Sample = {}
            if line.get(modality.name) is not None:
                with suppress(Absent):
                    part = _of_modality(modality.name, modality.load, line[modality.name])
            sample |= {**part, f"{modality.name}.present": np.array(bool(part))}
        if not withheld and not any(sample[f"{name}.present"] for name in names):
            raise Absent(f"it has none of {', '.join(names)}; remove it")
        return sample

    def remarks(self, raw: Raw) -> tuple[str, ...]:
        """Those of each modality that the example has."""
        line, _ = _not_withheld(raw)
        present = [modality for modality in self.modalities if line.get(modality.name) is not None]
        return tuple(remark for modality in present for remark in modality.remarks(line[modality.name]))

    # -- from batches -------------------------------------------------------------------------------------------

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """The view of each modality, in step with the one that leads."""
        leader, *others = self._in_step(batch)
        return self._follow(leader.view(batch), leader, others, lambda modality, part: modality.view(part))

    @property
    def num_views(self) -> int:
        """The most of any signal."""
        return max(modality.num_views for modality in self.modalities)

    def needs_windows(self, batch: Batch) -> bool:
        """Whether a modality does that is not led by another one in all examples."""
        leader, *others = self._in_step(batch)
        led = leader.leads_in_time and bool(self._present(batch, leader.name).all())
        free = [modality for modality in others if not (led and modality.follows_in_time)]
        return any(modality.needs_windows(batch) for modality in (leader, *free))

    def window(self, batch: Batch, share: float) -> dict[str, Tensor]:
        """The window of each modality, in step with the one that leads; ``view`` of modalities that are seen whole."""
        leader, *others = self._in_step(batch)
        first = leader.window(batch, share)
        return self._follow(first, leader, others, lambda modality, part: modality.window(part, share))

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Each modality varied by itself, in step with the one that leads. Then ``dropout`` masks modalities, but never
        all that an example has."""
        leader, *others = self._in_step(batch)
        first = leader.augment(batch, generator)
        result = self._follow(first, leader, others, lambda modality, part: modality.augment(part, generator))
        dropout = {modality.name: self.config.dropout.get(modality.name, 0.0) for modality in (leader, *others)}
        if not any(dropout.values()):
            return result
        before = torch.stack([self._present(result, name) for name in dropout])
        random = torch.rand(before.shape, generator=generator, device=generator.device).to(
            before.device, non_blocking=True
        )
        after = before & (random >= torch.tensor(list(dropout.values())).to(random.device, non_blocking=True)[:, None])
        after = torch.where(after.any(0), after, before)
        return result | {f"{name}.present": present for name, present in zip(dropout, after, strict=True)}

    def embed(self, batch: Batch) -> ByteArray:
        """A segment for each modality, with its name. The rows of absent modalities are masked; the segment of a
        modality that the batch lacks has no rows."""
        examples = batch[self._in_step(batch)[0].name].shape[0]
        return join([ByteArray((self._segment(modality, batch, examples),)) for modality in self.modalities])

    # -- rows and signal ----------------------------------------------------------------------------------------

    def patchify(self, signal: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The rows of each modality, by name."""
        return {
            modality.name: modality.patchify(signal[modality.name])
            for modality in self.modalities
            if modality.name in signal
        }

    def unpatchify(self, rows: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The rows of each modality, by name (as ``ByteArray.split`` gives them), in the shape of its signal."""
        return {
            modality.name: modality.unpatchify(rows[modality.name], batch)
            for modality in self.modalities
            if modality.name in batch
        }

    def attention_map(self, weights: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The map of each modality, by name."""
        pieces = self.embed(batch).split(weights)
        return {
            modality.name: modality.attention_map(pieces[modality.name], batch)
            for modality in self.modalities
            if modality.name in batch
        }

    # -- predicted ----------------------------------------------------------------------------------------------

    def restore(self, rows: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:  # type: ignore[override]
        """The signal of each modality, by name."""
        return {
            modality.name: modality.restore(rows[modality.name], batch)
            for modality in self.modalities
            if modality.name in batch
        }

    def save(self, signal: Mapping[str, Tensor], stem: Path) -> list[Path]:
        """Write each modality to a file of its own, ``<stem>-<name>``, or ``<stem>`` if there is only one to write. The
        leading modality is written to ``<stem>``, with the sound of the first one that has any: a film with its sound.

        Args:
            signal: of one example, by name of modality.
            stem: the path without its ending.
        """
        modalities = [modality for modality in self.modalities if modality.name in signal and modality.has_files]
        tracks = [track for modality in modalities if (track := modality.soundtrack(signal[modality.name]))]
        leader = next((modality for modality in modalities if modality.leads_in_time), None)
        paths: list[Path] = []
        for modality in modalities:
            own_stem = stem if len(modalities) == 1 else stem.with_name(f"{stem.name}-{modality.name}")
            if modality is leader and tracks:
                paths += modality.save_with(signal[modality.name], stem, tracks[0])
            else:
                paths += modality.save(signal[modality.name], own_stem)
        return paths

    def label_scores(self, rows: Mapping[str, Tensor], top: int) -> dict[str, float]:
        scores = [
            modality.label_scores(rows[modality.name], top) for modality in self.modalities if modality.name in rows
        ]
        return next(filter(None, scores), {})

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, attention: Mapping[str, Tensor] | None = None) -> None:
        """The modalities that the example has, one below the other."""
        present = self.present_modalities(batch, index)
        axes.set_axis_off()
        height = 1 / max(1, len(present))
        for number, modality in enumerate(present):
            # The rest of the height is for the title above and for the name of the axis below.
            inner = axes.inset_axes((0, 1 - (number + 0.77) * height, 1, 0.66 * height))
            inner.tick_params(labelsize=6)
            inner.set_title(modality.name, fontsize=7, loc="left", pad=2, parse_math=False)
            modality.draw(inner, batch, index, None if attention is None else attention[modality.name])
            inner.xaxis.label.set_fontsize(6)
            inner.yaxis.label.set_fontsize(6)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, modalities={[modality.name for modality in self.modalities]}"

    def _in_step(self, batch: Batch) -> list[Modality]:
        """The modalities that the batch has: those that may lead first, and otherwise in the order of their names, so
        that the same random numbers vary the same modality whatever the order of the configuration is.

        Raises:
            InputError: it has none of them.
        """
        modalities = [modality for modality in self.modalities if modality.name in batch]
        if not modalities:
            names = ", ".join(modality.name for modality in self.modalities)
            raise InputError(f"the batch has none of the model's modalities ({names}); name its fields so")
        return sorted(modalities, key=lambda modality: (not modality.leads_in_time, modality.name))

    def _follow(
        self,
        batch: Batch,
        leader: Modality,
        others: Sequence[Modality],
        vary: Callable[[Modality, Batch], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """The batch after ``vary`` has made a view of each of the other modalities, one after the other. Those that
        follow in time start at the moment at which the leader's clip starts, if it leads in time."""
        result = dict(batch)
        start = result.get(f"{leader.name}.start") if leader.leads_in_time else None
        if start is not None:
            start = start.masked_fill(~self._present(batch, leader.name), nan)  # an absent one does not lead
            result |= {f"{modality.name}.start": start for modality in others if modality.follows_in_time}
        for modality in others:
            result = vary(modality, result)
        return result

    def _present(self, batch: Batch, name: str) -> Tensor:
        """Which examples have a modality that the batch has: bool, (batch,)."""
        signal = batch[name]
        present = batch.get(f"{name}.present")
        return torch.ones(signal.shape[0], dtype=torch.bool, device=signal.device) if present is None else present

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
        # The rows of an absent modality may hold anything, even NaN: they become zeros.
        kept = present[:, None, None]
        positions = segment.positions
        if isinstance(positions, PointPositions):
            positions = PointPositions(torch.where(kept, positions.table, 0.0))
        mask = present[:, None].expand(segment.values.shape[:2])
        return replace(
            segment,
            values=torch.where(kept, segment.values, 0.0),
            positions=positions,
            modality_embedding=modality_embedding,
            mask=mask if segment.mask is None else mask & segment.mask,
        )


def _line(raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise InputError(f"an example is a mapping from names to signals, not {type(raw).__name__}")
    return raw


def _not_withheld(raw: Any) -> tuple[dict[str, Any], bool]:
    """The signals of an example that are not withheld, by name, and whether any is."""
    line = _line(raw)
    offered = {name: part for name, part in line.items() if part is not WITHHELD}
    return offered, len(offered) < len(line)


def _of_modality(name: str, function: Callable[[Any], T], raw: Any) -> T:
    """``function(raw)``, whose errors name the modality.

    Raises:
        Absent, InputError: as ``function``.
    """
    try:
        return function(raw)
    except Absent:
        raise
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
