"""Small models and byte arrays for tests."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sensorium.nn import Encoder, EncoderConfig
from sensorium.nn.byte_array import ByteArray, GridPositions, PointPositions, Segment
from sensorium.tasks import Task

M = TypeVar("M", bound=nn.Module)
MASKED = ("nothing", "some", "all of one example")


def shake(module: M, seed: int = 0) -> M:
    """Every parameter random and of some size, in float64: no bias, norm or head at a special value."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            if "norm.weight" in name:
                parameter.add_(1.0)
    return module


def normal(*shape: int, seed: int = 1) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows_of(values: Tensor, mask: Tensor | None = None) -> ByteArray:
    """A byte array of one segment without positions: its rows are ``values``."""
    return ByteArray((Segment("rows", values, mask=mask),))


def small_encoder(channels: int = 6, **changes: object) -> Encoder:
    """A shaken encoder with two reads of one set of weights."""
    shape: dict[str, object] = {
        "num_latents": 3,
        "latent_channels": 8,
        "cross_attention": (0, 1, 1),
        "latent_transformer": (0, 0, None),
        "num_layers": 1,
        "num_cross_attention_heads": 1,
        "num_self_attention_heads": 2,
    }
    return shake(Encoder(EncoderConfig(**(shape | changes)), channels=channels))  # type: ignore[arg-type]


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """A module's parameters, for the reference."""
    return {name: parameter.detach().numpy().copy() for name, parameter in module.named_parameters()}


def gradients(module: nn.Module) -> dict[str, Tensor]:
    """A module's gradients; what was not used has a gradient of zero."""
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in module.named_parameters()
    }


def distance(result: Tensor, exact: Tensor) -> float:
    """‖result - exact‖ / ‖exact‖ in float64, and exactly zeros where ``exact`` is only zeros."""
    exact = exact.detach().double()
    difference, size = float((result.detach().double() - exact).norm()), float(exact.norm())
    return difference / size if size else difference


def mask_of(batch: int, rows: int, masked: str, seed: int = 0) -> Tensor | None:
    """A mask with ``masked`` of :data:`MASKED` absent; the last example is the one with no row."""
    if masked == "nothing":
        return None
    mask = normal(batch, rows, seed=seed) > -0.3
    if masked == "all of one example":
        mask[-1] = False
    return mask


def grid_problem(
    shape: tuple[int, ...],
    *,
    batch: int = 2,
    heads: int = 1,
    latents: int = 3,
    channels: int = 2,
    masked: str = "nothing",
    seed: int = 0,
) -> dict[str, Any]:
    """Random arguments of ``kernels.grid_attention`` by name, in float64; logits are of size 1 to 3."""
    rows = prod(shape)
    return {
        "query": normal(batch, heads, latents, channels, seed=seed) / channels**0.5,
        "tables": normal(batch, heads, latents, sum(shape), seed=seed + 1),
        "values": normal(batch, channels, rows, seed=seed + 2),
        "scale": normal(batch, rows, seed=seed + 3).abs() + 0.1,
        "mask": mask_of(batch, rows, masked, seed + 4),
        "shape": shape,
    }


def grid_array(
    shape: tuple[int, ...],
    *,
    batch: int = 2,
    values: int = 3,
    positions: int = 5,
    modality_channels: int = 0,
    mask: Tensor | None = None,
    seed: int = 0,
) -> Segment:
    """A grid with learned positions, which fill the same channels along each axis, and a modality_embedding: float64,
    all leaves."""
    rows = prod(shape)
    return Segment(
        f"grid {seed}",
        normal(batch, rows, values, seed=seed).requires_grad_(),
        GridPositions(
            tuple(normal(size, positions, seed=seed + 1 + axis).requires_grad_() for axis, size in enumerate(shape))
        ),
        normal(modality_channels, seed=seed + 10).requires_grad_() if modality_channels else None,
        mask,
    )


def leaves(array: ByteArray) -> dict[str, Tensor]:
    """All that a byte array is made of and that has a gradient, by name."""
    found: dict[str, Tensor | None] = {}
    for segment in array.segments:
        found[f"{segment.name}: values"], found[f"{segment.name}: modality_embedding"] = (
            segment.values,
            segment.modality_embedding,
        )
        tables = segment.positions.tables if isinstance(segment.positions, GridPositions) else ()
        found |= {f"{segment.name}: axis {axis}": table for axis, table in enumerate(tables)}
        if isinstance(segment.positions, PointPositions):
            found[f"{segment.name}: positions"] = segment.positions.table
    return {name: tensor for name, tensor in found.items() if tensor is not None and tensor.requires_grad}


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads, then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def largest_allocation(profile: torch.profiler.profile) -> int:
    """The most bytes that one operator asked for at once, inside custom operators and backward passes too."""
    return max(event.self_cpu_memory_usage for event in profile.events())


def flop_counter() -> FlopCounterMode:
    """Counts multiplications and additions, the two products of attention to dense rows too."""

    def row_attention(query: tuple[int, ...], rows: tuple[int, ...], *_: object, **__: object) -> int:
        return 2 * 2 * prod(query) * rows[1]

    return FlopCounterMode(display=False, custom_mapping={torch.ops.sensorium.row_attention: row_attention})


def film(path: Path, *, sound: bool, frames: int = 6, seed: int = 0) -> Path:
    """A film of ten frames a second, 16 × 16 pixels, with or without sound of 8 kHz: noise."""
    random = np.random.default_rng(seed)
    wave = random.integers(-9000, 9000, frames * 800).astype(np.int16) if sound else None
    pictures = random.integers(0, 256, (frames, 16, 16, 3), dtype=np.uint8)
    return write_film(path, pictures, rate=10, wave=wave, sound_rate=8000)


def write_film(path: Path, pictures: np.ndarray, *, rate: int, wave: np.ndarray | None, sound_rate: int) -> Path:
    """A lossless film of frames × height × width × 3 bytes, and 16-bit samples beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=rate)
        stream.pix_fmt, stream.height, stream.width = "bgr0", *pictures.shape[1:3]
        if wave is not None:
            track: Any = container.add_stream("pcm_s16le", rate=sound_rate, layout="mono")
            samples = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            samples.rate, samples.pts = sound_rate, 0
            container.mux(track.encode(samples))
            container.mux(track.encode(None))
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode(None))
    return path


SHOWN_BY = (
    *("outputs_noun", "metric_titles", "percent_metrics", "leading_score", "scores_are_probabilities"),
    *("gallery_titles", "illustration_legend", "summarise", "value_pairs", "judge", "caption", "illustrate"),
)


def without_presentation(task: type[Task]) -> type[Task]:
    """The task as if its class said nothing about how people are shown its predictions: the defaults of all tasks."""
    return type(f"Bare{task.__name__}", (task,), {name: vars(Task)[name] for name in SHOWN_BY})


def dicom_slice(
    pixels: np.ndarray,
    *,
    series: str = "1.2.3",
    position: Sequence[float] = (0.0, 0.0, 0.0),
    slope: float = 1.0,
    intercept: float = 0.0,
    window: tuple[float, float] | None = None,
    photometric: str = "MONOCHROME2",
) -> bytes:
    """A DICOM file: height × width, frames × height × width, or height × width × 3 in colour; window: centre, width."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    colour = photometric == "RGB"
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.generate_uid()
    data.SeriesInstanceUID = series
    data.Rows, data.Columns = pixels.shape[:2] if colour or pixels.ndim == 2 else pixels.shape[1:]
    if pixels.ndim == 3 and not colour:
        data.NumberOfFrames = len(pixels)
    data.SamplesPerPixel, data.PhotometricInterpretation = 3 if colour else 1, photometric
    if colour:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
    data.RescaleSlope, data.RescaleIntercept = slope, intercept
    data.ImagePositionPatient, data.ImageOrientationPatient = list(position), [1.0, 0, 0, 0, 1.0, 0]
    data.PixelSpacing = [0.7, 0.6]
    if window is not None:
        data.WindowCenter, data.WindowWidth = window
    data.PixelData = pixels.tobytes()
    file = io.BytesIO()
    pydicom.dcmwrite(file, data, enforce_file_format=True)
    return file.getvalue()


def png(values: np.ndarray, depth: int = 16) -> bytes:
    """A .png of height × width × 3 numbers, as the standard says."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in values)
    content = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    for kind, piece in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += struct.pack(">I", len(piece)) + kind + piece + struct.pack(">I", zlib.crc32(kind + piece))
    return content


def kitti_flow(flow: np.ndarray) -> bytes:
    """A file of KITTI's flow: 2 × height × width, NaN where it is unknown."""
    known = ~np.isnan(flow).any(0)
    right, down = (np.nan_to_num(flow) * 64 + 2**15).astype(np.uint16)
    return png(np.stack([right, down, known.astype(np.uint16)], -1))
