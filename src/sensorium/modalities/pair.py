"""Two frames and the motion between them: a row for each pixel, of the pixels around it in both frames (Perceiver IO
App. H)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..codecs import flow as flow_files
from ..codecs import pictures as picture_files
from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError
from ..nn.byte_array import ByteArray, GridPositions, Segment
from ..nn.initialisation import lecun
from ..nn.positions import Spacing, fourier_channels, grid_positions
from ..nn.stems import MatchStem, MatchStemConfig
from .base import Batch, Modality, Sample
from .drawing import draw_pixels
from .pair_augmentation import PairAugmentationConfig, draw_affines, moved, relight
from .pixels import centre, floats, recolour, stored_size
from .sequences import uniform

# What `measure` settles for.
LARGEST_FRAME = (368, 496)  # the paper's
LARGEST_SIDE = 224  # of single pictures
LEAST_KEPT = 128  # pixels a side that are kept of larger frames, so that training sees another part each time
LEAST_SIDE = 72  # of single pictures, out of which small frames are cut: shrunk to a frame they would show no texture


@record
class PairConfig:
    """What pairs of frames look like to the model.

    Attributes:
        size: height and width of a frame in pixels.
        window: height and width of the window of pixels, around its own, that a row sees in each frame; odd numbers.
        channels: of a row, before its Fourier features.
        stem: a network from both frames to the rows, in place of the window; None: there is none, as in the paper.
        bands: number of Fourier frequencies along each axis.
        resolution: twice the highest Fourier frequency, along height and width; None: ``size``.
        flip: probability that a training pair is mirrored left and right, and that it is mirrored up and down.
        colour: training changes brightness, contrast and saturation by up to this share each, in both frames alike.
        augmentation: training also turns, enlarges, stretches and moves the frames and their flow, and mirrors them by
            its own probabilities instead of ``flip``; None: it crops and mirrors.
    """

    kind: Literal["pair"] = "pair"
    size: tuple[int, int] = (368, 496)
    window: tuple[int, int] = (3, 3)
    channels: int = 64
    stem: MatchStemConfig | None = None
    bands: int = 64
    resolution: tuple[float, float] | None = None
    flip: float = 0.0
    colour: float = 0.0
    augmentation: PairAugmentationConfig | None = None

    @property
    def num_rows(self) -> int:
        return prod(self.size)

    @property
    def elements_per_row(self) -> int:
        """A row is a pixel of both frames."""
        return 2

    @property
    def position_channels(self) -> int:
        return fourier_channels(2, self.bands)

    @property
    def value_channels(self) -> int:
        """The colours of a pixel in both frames."""
        return 6

    @property
    def row_channels(self) -> int:
        return (self.channels if self.stem is None else self.stem.channels) + self.position_channels


class Pair(Modality[PairConfig]):
    """Pairs: ``pair`` is batch × 2 × 3 × height × width, floats in [0, 1] or uint8. With 1 instead of 2 they are single
    pictures, out of which a task makes pairs.

    ``pair.flow``, batch × 2 × height × width, float32, where a batch has it: by how many pixels each pixel of the first
    frame moves to the right, and downwards; NaN where that is unknown. ``pair.room``, batch × 2, before a view is
    taken: the height and width of the part of a stored pair that holds pixels; the rest, around it, is padding.

    The values of a row are a linear layer of the pixels around its own (in [-1, 1], and 0 outside of the frame), in
    order of frame, height, width and colour.

    Raises:
        InputError: a size below 1, or an even window.

    >>> pair = Pair(PairConfig(size=(6, 8), bands=4))
    >>> pair.embed({"pair": torch.rand(5, 2, 3, 6, 8)}).dense().shape
    torch.Size([5, 48, 82])
    """

    kind: ClassVar[str] = "pair"

    def __init__(self, config: PairConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if min(*config.size, config.channels) < 1:
            raise InputError(f"{self.name}: size and channels must be positive")
        if any(side < 1 or side % 2 == 0 for side in config.window):
            raise InputError(f"{self.name}: a window of {config.window} has no middle; give odd numbers")
        height, width = stored_size(config.size)
        self.stored = max(LEAST_KEPT, height), max(LEAST_KEPT, width)
        self.scene = max(LEAST_SIDE, height), max(LEAST_SIDE, width)
        self.linear = self.stem = None
        if config.stem is None:
            self.linear = lecun(nn.Linear(2 * 3 * prod(config.window), config.channels))
        else:
            self.stem = MatchStem(config.stem)

    # -- from files

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> PairConfig:
        """The size: of pairs the smallest height and width, at most 368 and 496; of single pictures the median height
        and width, at most 224.

        Raises:
            InputError: a picture cannot be decoded, or pairs and single pictures are mixed.
        """
        pictures = [_frames(raw) for raw in raws]
        count = len(pictures[0])
        if any(len(frames) != count for frames in pictures):
            raise InputError("pairs and single pictures are mixed; keep them apart")
        headers = [picture_files.header(frame) for frames in pictures for frame in frames]
        sides = np.array([(header.height, header.width) for header in headers])
        height, width = np.median(sides, axis=0) if count == 1 else sides.min(0)
        most = (LARGEST_SIDE, LARGEST_SIDE) if count == 1 else LARGEST_FRAME
        return PairConfig(size=(min(int(height), most[0]), min(int(width), most[1])))

    @classmethod
    def reads_files(cls, raw: Raw) -> bool:
        """Always: the frames of a pair are files."""
        return True

    def load(self, raw: Raw) -> Sample:
        """Two frames and their flow, or a single picture.

        Args:
            raw: {"frames": (picture, picture), "flow": 2 × height × width, or a file of it, or None}, a sequence of two
                pictures, or one picture. A picture is a path, the bytes of a file or an array, height × width [× 1, 3
                or 4].

        Returns:
            of a pair: uint8, 2 × 3 × stored height × stored width, the ``flow`` if it is known, and the ``room``.
            Frames are never resized: of larger ones the middle is kept, smaller ones are padded. Of a single picture:
            uint8, 1 × 3 × height × width of a ``scene``, to which it is resized.

        Raises:
            InputError: not pictures, frames of two sizes or smaller than ``size``, or a flow of another size.
        """
        frames = _frames(raw)
        if len(frames) == 1:
            return {self.name: picture_files.decode(frames[0], size=self.scene, enough=4 * max(self.scene))[None]}
        pixels, flow = self.whole(raw)
        size = (pixels.shape[-2], pixels.shape[-1])
        if any(side < least for side, least in zip(size, self.config.size, strict=True)):
            raise InputError(
                f"frames of {_written(size)} pixels, the model reads {_written(self.config.size)}; "
                "give larger ones, or train with a smaller model.inputs.size"
            )
        room = np.minimum(size, self.stored).astype(np.int16)
        sample = {self.name: self._middle(pixels, 0), f"{self.name}.room": room}
        if flow is not None:
            sample[f"{self.name}.flow"] = self._middle(flow, np.nan)
        return sample

    def whole(self, raw: Raw) -> tuple[np.ndarray, np.ndarray | None]:
        """Two frames of any size, whole: uint8, 2 × 3 × height × width; and their flow, float32, 2 × height × width,
        NaN where it is unknown, or None where there is none.

        Raises:
            InputError: as :meth:`load`, and for a single picture.
        """
        frames = _frames(raw)
        if len(frames) == 1:
            raise InputError("a single picture shows no motion; give two")
        first, second = (picture_files.decode(frame) for frame in frames)
        size, other = first.shape[1:], second.shape[1:]
        if size != other:
            raise InputError(f"frames of {_written(size)} and of {_written(other)} pixels; give two of one size")
        flow = raw.get("flow") if isinstance(raw, Mapping) else None
        return np.stack([first, second]), None if flow is None else _flow(flow, size)

    def _middle(self, signal: np.ndarray, blank: float) -> np.ndarray:
        """The middle of … × height × width, cut or padded with ``blank`` to the stored size."""
        spare = [side - stored for side, stored in zip(signal.shape[-2:], self.stored, strict=True)]
        top, left = (max(0, side) // 2 for side in spare)
        signal = signal[..., top : top + self.stored[0], left : left + self.stored[1]]
        around = [(max(0, -side) // 2, max(0, -side) - max(0, -side) // 2) for side in spare]
        return np.pad(signal, [(0, 0)] * (signal.ndim - 2) + around, constant_values=blank)

    # -- from batches

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """The middle of both frames, as floats in [0, 1], and of their flow; single pictures as they are."""
        frames, view = batch[self.name], self._without_room(batch)
        if frames.shape[1] == 1:
            return view
        target, flow = self._target(frames), f"{self.name}.flow"
        view[self.name] = floats(centre(frames, target))
        if flow in batch:
            view[flow] = centre(batch[flow], target)
        return view

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """A random part of ``size`` of both frames and their flow, perhaps mirrored, with the colours of both frames
        changed alike, and with what ``augmentation`` says; single pictures as they are."""
        return self.augment_at(1.0, batch, generator)

    def augment_at(self, strength: float, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        frames, view = batch[self.name], self._without_room(batch)
        if frames.shape[1] == 1:
            return view
        full, target, flow = (frames.shape[-2], frames.shape[-1]), self._target(frames), f"{self.name}.flow"
        whole = torch.tensor(full).to(frames.device, non_blocking=True).expand(len(frames), 2)
        room, motion, changes = batch.get(f"{self.name}.room", whole), batch.get(flow), self.config.augmentation
        if changes is None:
            pixels, motion = self._crops(frames, motion, room.long(), target, generator)
        else:
            affines = draw_affines(room.float(), full, target, changes, strength=strength, generator=generator)
            pixels, motion = moved(floats(frames), motion, affines, target)
        colour = strength * self.config.colour
        pixels = recolour(pixels, colour, 0.5, generator) if colour else pixels
        if changes is not None:
            pixels = relight(pixels, changes, strength=strength, generator=generator)
        view[self.name] = pixels
        return view if motion is None else {**view, flow: motion}

    def _crops(
        self, frames: Tensor, flow: Tensor | None, room: Tensor, target: tuple[int, int], generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """A random part of each pair, perhaps mirrored, and its flow where there is one."""
        count, full = len(frames), torch.tensor(frames.shape[-2:]).to(frames.device, non_blocking=True)
        draw = uniform(frames, (4, count), 0, 1, generator)
        spare = (room - torch.tensor(target).to(room.device, non_blocking=True)).clamp(min=0)
        start = (full - room) // 2 + (draw[:2].T * (spare + 1)).long().minimum(spare)
        flips = self.config.flip > draw[2:].T  # up and down, left and right
        pixels_of = [
            torch.where(flips[:, axis, None], torch.arange(side - 1, -1, -1).to(start), torch.arange(side).to(start))
            + start[:, axis, None]
            for axis, side in enumerate(target)
        ]
        pixels = floats(_part(frames.flatten(1, 2), *pixels_of)).unflatten(1, (2, 3))
        if flow is None:
            return pixels, None
        turned = torch.where(flips.flip(1), -1.0, 1.0)  # the motion to the right, and downwards
        return pixels, _part(flow, *pixels_of) * turned[..., None, None]

    def embed(self, batch: Batch) -> ByteArray:
        frames = batch[self.name]
        if frames.ndim == 5 and frames.shape[1:3] == (1, 3):
            raise InputError(f"{self.name}: single pictures show no motion; give pairs, or a task that makes them")
        if frames.ndim != 5 or frames.shape[1:3] != (2, 3):
            raise InputError(f"{self.name}: expected batch × 2 × 3 × height × width, got {tuple(frames.shape)}")
        return ByteArray((Segment(self.name, self._values(2 * floats(frames) - 1, batch), self._positions(frames)),))

    def _values(self, frames: Tensor, batch: Batch) -> Tensor:
        if self.stem is not None:
            frames = frames.movedim(2, -1)
            seen = self.seen(batch, tuple(frames.shape[:-1]))
            rows: Tensor = self.stem(frames if seen is None else frames * seen[..., None])
            return rows
        assert self.linear is not None
        # The linear layer of every window is a convolution.
        down, across = self.config.window
        kernel = rearrange(
            self.linear.weight,
            "channels (frames down across colours) -> channels (frames colours) down across",
            frames=2,
            down=down,
            across=across,
        )
        pixels = frames.to(kernel.dtype).flatten(1, 2)
        return F.conv2d(pixels, kernel, self.linear.bias, padding=(down // 2, across // 2)).flatten(2).mT

    # -- rows and signal

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × 2 × k × height × width as batch × rows × (2 · k)."""
        return rearrange(signal, "batch frames k height width -> batch (height width) (frames k)")

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × 2 × k × height × width."""
        height, width = batch[self.name].shape[-2:]
        return rearrange(
            rows, "batch (height width) (frames k) -> batch frames k height width", frames=2, height=height, width=width
        )

    # -- predicted

    @property
    def value_range(self) -> float:
        return 1.0

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        positions = self._positions(batch[self.name], spacing)
        no_values = torch.zeros(batch[self.name].shape[0], prod(positions.shape), 0, device=batch[self.name].device)
        return Segment(self.name, no_values, positions)

    def targets(self, batch: Batch) -> Tensor:
        """The pixels themselves, in [-1, 1], whatever the linear layer makes of the pixels around them."""
        return self.patchify(2 * floats(batch[self.name]) - 1)

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × 2 × 3 × height × width, in [0, 1]."""
        return ((self.unpatchify(rows, batch) + 1) / 2).clamp(0, 1)

    def save(self, signal: Tensor, stem: Path) -> list[Path]:
        """Write a .png, the frames side by side."""
        path = stem.with_name(f"{stem.name}.png")
        pixels = (signal.clamp(0, 1) * 255).round().byte()
        pixels = rearrange(pixels, "frames k height width -> height (frames width) k")
        picture_files.encode_file(pixels.cpu().numpy(), path)
        return [path]

    # -- for people

    def draw(self, axes: Any, batch: Batch, index: int, attention: Tensor | None = None) -> None:
        """The first frame, with its attention over it."""
        pixels = floats(batch[self.name][index, 0]).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
        draw_pixels(axes, pixels, None if attention is None else attention[0, 0].float().cpu().numpy())

    def _target(self, frames: Tensor) -> tuple[int, int]:
        """The size of a view of stored frames; frames of another size keep theirs."""
        height, width = frames.shape[-2:]
        return self.config.size if (height, width) == self.stored else (height, width)

    def _without_room(self, batch: Batch) -> dict[str, Tensor]:
        return {key: value for key, value in batch.items() if key != f"{self.name}.room"}

    def _positions(self, frames: Tensor, spacing: Spacing = "linspace") -> GridPositions:
        height, width = frames.shape[-2:]
        own = (float(self.config.size[0]), float(self.config.size[1]))
        return grid_positions((height, width), self.config.bands, self.config.resolution or own, frames.device, spacing)


def _frames(raw: Raw) -> Sequence[Any]:
    """The two frames of a pair, or a single picture."""
    if isinstance(raw, Path | bytes | str | np.ndarray):
        return (raw,)
    frames = raw.get("frames") if isinstance(raw, Mapping) else raw
    if not isinstance(frames, list | tuple) or len(frames) != 2:
        raise InputError('a pair is two pictures, or {"frames": two pictures, "flow": their motion}')
    return frames


def _flow(raw: Any, size: tuple[int, int]) -> np.ndarray:
    """float32, 2 × height × width, NaN where it is unknown."""
    flow = flow_files.decode(raw) if isinstance(raw, Path | bytes) else np.asarray(raw, np.float32)
    if flow.shape != (2, *size):
        raise InputError(f"a flow of shape {flow.shape} for frames of {_written(size)} pixels; give 2 × height × width")
    if np.isinf(flow).any():
        raise InputError("there are infinite values in the flow; write NaN where the motion is unknown")
    return flow


def _part(signal: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Of each example (batch × k × height × width) the pixels at ``down`` and ``across`` (batch × side, int64)."""
    example = torch.arange(signal.shape[0], device=signal.device)[:, None, None]
    return signal[example, :, down[:, :, None], across[:, None, :]].movedim(-1, 1)


def _written(size: tuple[int, ...]) -> str:
    return " × ".join(map(str, size))
