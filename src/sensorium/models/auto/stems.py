"""The stems that ``auto`` puts before the rows of a signal.

============  =========================================================================================================
pictures      three stages of 32, 64 and 128 channels, whose kernels are 3 pixels wide, down to 8 to 15 rows a side
video         three stages of 24, 48 and 96 channels, first within frames, then over time as well, which also see the
              differences between frames; a fourth one of 192 channels makes a row of each moment
volumes       three stages of 24, 48 and 96 channels, down to at most 8 rows along an axis
sound         of spectra: three stages of 32, 64 and 128 channels, down to 4 rows of 64 mels and 24 to 47 of time
series        two stages of 64 and 128 channels, whose kernels are 9 steps wide and dilated, down to at most 256 rows
text          n-grams of 2 to 6 bytes
points        a row for every eighth point, which sees the 32 nearest points, then the 16 nearest rows
pairs         a row for each pixel, which is compared with all pixels at most 8 away in the other frame
masked words  n-grams as of text, and three blocks of convolutions over 5 bytes, dilated up to four times
tables        where a number lies among those of training, in 16 bins
============  =========================================================================================================

Patches do not overlap and are linear: behind them the model has to learn every edge and onset through attention.
Measured in docs/decisions/0014.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log2, prod
from typing import Any

from ...modalities import AudioConfig, ImageConfig, SeriesConfig, VideoConfig, VolumeConfig
from ...nn.stems import (
    GridStemConfig,
    MatchStemConfig,
    NeighbourStemConfig,
    NGramStemConfig,
    NumberStemConfig,
    Stage,
)

PICTURE_ROWS = 8  # along a side of a picture, at least
PICTURE_CHANNELS = (32, 64, 128)
SOLID_ROWS = 8  # along an axis of a volume, at most
SOLID_CHANNELS = (24, 48, 96)
CLIP_STEPS = 16  # rows of a clip along time, at least, where it has as many frames
CLIP_SIDE = 4  # places along a side of a frame, at least, before they become one row
CLIP_CHANNELS = 192  # of that row
SOUND_ROWS = 24, 4  # along time, at least, and along the mels
SERIES_CHANNELS = (64, 128)
SERIES_ROWS, SERIES_STEPS, SERIES_KERNEL = 256, 64, 9  # rows at most; steps from which the last stage halves; a kernel


def halvings(size: int, least: int) -> int:
    """How often ``size`` can be halved until ``least`` are left.

    >>> [halvings(size, 8) for size in (7, 8, 28, 32, 224)]
    [0, 0, 1, 2, 4]
    """
    return max(0, int(log2(max(size, 1) / least)))


def spread(count: int, stages: int) -> tuple[int, ...]:
    """The strides of stages that halve a signal ``count`` times: the last ones halve it once each, and the first one
    does the rest.

    >>> spread(1, 3), spread(4, 3)
    ((1, 1, 2), (4, 2, 2))
    """
    later = [2 if count >= stages - stage else 1 for stage in range(1, stages)]
    return 2 ** (count - sum(step == 2 for step in later)), *later


def picture_stem(measured: ImageConfig) -> GridStemConfig:
    """For square pictures."""
    strides = spread(halvings(measured.size[0], PICTURE_ROWS), 3)
    return GridStemConfig(
        stages=tuple(
            Stage(channels=channels, stride=(stride, stride), kernel=(3, 3), dilations=(1,) * (1 + (number == 2)))
            for number, (channels, stride) in enumerate(zip(PICTURE_CHANNELS, strides, strict=True))
        )
    )


def video_stem(measured: VideoConfig) -> GridStemConfig:
    """For clips of square frames: a row for each moment."""
    across = spread(halvings(measured.size[0], CLIP_SIDE), 3)
    halved = halvings(measured.frames, CLIP_STEPS)
    over_time = (2 ** (halved - (halved > 0)), 1, 2 if halved else 1)
    side = measured.size[0] // prod(across)
    moments = Stage(channels=CLIP_CHANNELS, stride=(1, side, side), kernel=(3, 1, 1), dilations=(1,))
    return GridStemConfig(
        stages=(
            *(
                Stage(channels=channels, stride=(step, side, side), kernel=(3 if number else 1, 3, 3), dilations=(1,))
                for number, (channels, step, side) in enumerate(zip(SOLID_CHANNELS, over_time, across, strict=True))
            ),
            moments,
        ),
        changes=True,
    )


def volume_stem(measured: VolumeConfig) -> GridStemConfig:
    """For volumes; an axis that cannot be halved is not."""
    strides = [_dividing(side, ceil(log2(max(1, side / SOLID_ROWS)))) for side in measured.size]
    return GridStemConfig(
        stages=tuple(
            Stage(channels=channels, stride=tuple(axis[number] for axis in strides), kernel=(3, 3, 3), dilations=(1,))
            for number, channels in enumerate(SOLID_CHANNELS)
        )
    )


def audio_stem(measured: AudioConfig) -> GridStemConfig | None:
    """For spectra; raw samples have none."""
    if measured.representation != "mel":
        return None
    time = spread(halvings(measured.steps, SOUND_ROWS[0]), 3)
    mels = spread(halvings(measured.mels, SOUND_ROWS[1]), 3)
    return GridStemConfig(
        stages=tuple(
            Stage(channels=channels, stride=tuple(stride), kernel=(3, 3), dilations=(1,) * (1 + (number == 2)))
            for number, (channels, *stride) in enumerate(zip(PICTURE_CHANNELS, time, mels, strict=True))
        )
    )


def series_stem(measured: SeriesConfig) -> GridStemConfig:
    """For series."""
    last = 2 if measured.length >= SERIES_STEPS else 1
    first = 2 ** max(0, ceil(log2(measured.length / last / SERIES_ROWS)))
    first_channels, channels = SERIES_CHANNELS
    return GridStemConfig(
        stages=(
            Stage(channels=first_channels, stride=(first,), kernel=(SERIES_KERNEL,), dilations=(1, 2)),
            Stage(channels=channels, stride=(last,), kernel=(SERIES_KERNEL,), dilations=(1, 2, 4)),
        )
    )


def _dividing(side: int, count: int) -> tuple[int, ...]:
    """The strides of three stages along an axis that at most ``count`` halvings divide."""
    while side % 2**count:
        count -= 1
    return spread(count, 3)


StemConfig = GridStemConfig | MatchStemConfig | NGramStemConfig | NeighbourStemConfig | NumberStemConfig
AutoStem = Callable[[Any], StemConfig | None]

# The stem of each kind of signal, from its configuration, where the task has one answer for each example; and those of
# other tasks. What the tables lack has none.
STEMS: dict[str, AutoStem] = {
    "audio": audio_stem,
    "image": picture_stem,
    "points": lambda measured: NeighbourStemConfig(stride=8),
    "series": series_stem,
    "table": lambda measured: NumberStemConfig(),
    "text": lambda measured: NGramStemConfig(),
    "video": video_stem,
    "volume": volume_stem,
}
STEMS_OF_TASK: dict[str, dict[str, AutoStem]] = {
    "flow": {"pair": lambda measured: MatchStemConfig()},
    "mlm": {"text": lambda measured: NGramStemConfig(dilations=(1, 2, 4))},
}
