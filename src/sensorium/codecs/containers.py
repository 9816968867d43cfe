"""Containers of pictures and sound in time (``.mp4``, ``.mkv``, ``.webm``, …), through ffmpeg: the only file that knows
PyAV."""

from __future__ import annotations

import io
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import Absent, InputError
from . import bounds
from .raw import plain_file

USUAL_RATE, USUAL_SECONDS = 25.0, 10.0  # of a film whose header does not say
_FLOAT = 4  # bytes
LATEST = 600  # seconds after the pictures; broken time stamps would fill the memory with silence

# What ffmpeg may take a file for, and nothing else. It would also take text for a film or
# for sound, and then open the files and addresses that a playlist names: nothing but the file itself may be opened.
FILM_FORMATS = "mov,mp4,m4a,3gp,matroska,webm,avi,mpeg,mpegvideo,mpegts,ogg,flv,asf,mxf,dv,nut,h264,hevc,ivf,obu"
SOUND_FORMATS = "wav,w64,flac,aiff,au,caf,mp3,aac,ac3,eac3,amr,ape,wv,tta,tak,voc,dts,mpc,mpc8"
_PROTOCOLS = "file"


@dataclass(frozen=True)
class Frame:
    """A decoded frame of a film.

    Attributes:
        picture: the frame as PyAV has it.
        aspect: how many times wider than high its pixels are shown.
    """

    picture: Any
    aspect: float = 1.0


TimedFrames: TypeAlias = Generator[tuple[float, Frame | None], None, None]


@dataclass(frozen=True)
class FilmHeader:
    """What the header of a film says.

    Attributes:
        height: of its pictures, in pixels.
        width: of its pictures, in pixels.
        rate: frames a second.
        seconds: how long it lasts.
        grey: whether its pictures are grey.
    """

    height: int
    width: int
    rate: float
    seconds: float
    grey: bool


def film_header(raw: str | bytes | Path) -> FilmHeader:
    """What the header of a film says; no frame is decoded.

    Raises:
        Absent: there are no pictures in it.
        InputError: not a film.
    """
    with _open_film(raw) as container:
        stream = _picture_stream(container)
        rate = float(stream.average_rate or stream.guessed_rate or USUAL_RATE)
        seconds = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
        pixels = stream.codec_context.pix_fmt
        grey = pixels is not None and pixels.startswith("gray")
        return FilmHeader(stream.height, stream.width, rate, seconds or USUAL_SECONDS, grey)


def has_sound(raw: str | bytes | Path) -> bool:
    """Whether the header of a film says that it has sound; ``False`` for what cannot be opened."""
    try:
        with _open_film(raw) as container:
            return bool(container.streams.audio)
    except InputError:
        return False


def decode_frames(raw: str | bytes | Path) -> TimedFrames:
    """Each frame of a film with its time in seconds from the start of its pictures; lastly the time of the end, and
    ``None``. Of a damaged film, the frames before the damage.

    Raises:
        Absent: there are no pictures in it.
        InputError: not a film, or not one frame can be decoded.
    """
    import av

    time, duration, count = 0.0, 0.0, 0
    with _open_film(raw) as container:
        stream = _picture_stream(container)
        stream.codec_context.thread_count = 1  # files are decoded side by side, one thread each
        usual = 1 / float(stream.average_rate or stream.guessed_rate or USUAL_RATE)
        aspect = float(stream.sample_aspect_ratio or 1)
        start = None if stream.start_time is None else float(stream.start_time * stream.time_base)
        try:
            bounds.check_pixels(stream.height, stream.width, "its pictures")
            for frame in container.decode(stream):
                if frame.time is not None and start is None:
                    start = frame.time
                # Times never go back; a frame without a time follows the last one at the usual pace.
                now = time + duration if frame.time is None or start is None else frame.time - start
                duration = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual
                time = now if not count else max(time, now)
                count += 1
                yield time, Frame(frame, aspect)
        except av.FFmpegError:
            pass  # what came before the damage is used
    if not count:
        raise InputError("not one frame of it can be decoded; copy it again, convert it to .mp4 or remove it")
    yield time + duration, None


def frame_of(pixels: np.ndarray) -> Frame:
    """A frame of pixels in memory: uint8, height × width (grey) or height × width × 3."""
    import av

    pixel_format = "gray" if pixels.ndim == 2 else "rgb24"
    return Frame(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=pixel_format))


class FrameFitter:
    """Turns frames into pixels: the largest centred part of a frame that has a size's proportions, upright, resized.

    Args:
        size: height and width of the result.
        channels: 1 (grey) or 3 (RGB).
    """

    def __init__(self, *, size: tuple[int, int], channels: int) -> None:
        from av.video.reformatter import VideoReformatter

        self.size = size
        self.pixel_format = "gray" if channels == 1 else "rgb24"
        self.reformatter = VideoReformatter()  # keeps its filters from frame to frame

    def __call__(self, frame: Frame) -> np.ndarray:
        """uint8, channels × height × width."""
        picture = frame.picture
        turns = round(picture.rotation / 90) % 4  # quarter turns to the left; phones film as they are held
        height, width = self.size if turns % 2 == 0 else self.size[::-1]
        shrink = min(picture.height / height, picture.width * frame.aspect / width)
        tall = max(height, round(picture.height / shrink))
        wide = max(width, round(picture.width * frame.aspect / shrink))
        bounds.check_pixels(tall, wide, "a frame of it, as large as the model needs it on its shorter side,")
        scaled = self.reformatter.reformat(
            picture, width=wide, height=tall, format=self.pixel_format, interpolation="BICUBIC", threads=1
        )
        top, left = (tall - height) // 2, (wide - width) // 2
        pixels = scaled.to_ndarray()[top : top + height, left : left + width]
        return np.ascontiguousarray(np.atleast_3d(np.rot90(pixels, turns)).transpose(2, 0, 1))


def decode_sound(content: bytes) -> tuple[np.ndarray, int]:
    """The sound of a film or sound file: float32, samples × channels, and its rate.

    The sound of a film starts when its pictures start: what is earlier is cut, and a later start is preceded by
    silence. Of a damaged film, the sound before the damage.

    Raises:
        Absent: there is no sound in it.
        InputError: it cannot be decoded, or starts long after the pictures.
    """
    import av

    try:
        with _open(io.BytesIO(content), f"{FILM_FORMATS},{SOUND_FORMATS}") as container:
            if not container.streams.audio:
                raise Absent("there is no sound in it; remove it or read it as video")
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise InputError("its sound is coded in a way that is not known; convert it to .wav or .flac")
            bounds.check_rate(stream.rate or 1)
            start = _start_of_pictures(container)
            to_floats = av.AudioResampler(format="flt")  # PyAV miscounts the planes of more than eight channels
            frames: list[Any] = []
            size, seconds = 0, 0.0
            try:
                for frame in container.decode(stream):
                    frames += to_floats.resample(frame)
                    bounds.check_bytes(size := size + _FLOAT * frame.samples * frame.layout.nb_channels, "its sound")
                    bounds.check_seconds(seconds := seconds + frame.samples / max(frame.sample_rate, 1))
            except av.FFmpegError:
                if start is None or not frames:
                    raise
    except (av.FFmpegError, ValueError):
        raise InputError("this is not a sound file that can be read; convert it to .wav or .flac") from None
    if not frames:
        return np.zeros((0, 1), np.float32), 1
    if len({frame.layout.nb_channels for frame in frames}) > 1:
        raise InputError("the number of its channels changes; convert it to .wav or .flac")
    bounds.check_rate(frames[0].sample_rate)
    rate, channels = frames[0].sample_rate, frames[0].layout.nb_channels
    wave = np.concatenate([frame.to_ndarray().reshape(-1, channels) for frame in frames])
    if start is None or frames[0].time is None:
        return wave, rate
    late = round((frames[0].time - start) * rate)
    if late > LATEST * rate:
        raise InputError("its sound starts long after its pictures, so its times are broken; convert or remove it")
    return np.pad(wave, ((max(0, late), 0), (0, 0)))[max(0, -late) :], rate


def decode_16_bit_png(content: bytes) -> np.ndarray:
    """The pixels of a PNG file of three channels of 16 bits, which Pillow cannot decode: uint16, height × width × 3.

    Raises:
        InputError: it cannot be decoded.
    """
    import av

    try:
        with av.open(io.BytesIO(content), "r", format="png_pipe") as container:
            return next(container.decode(video=0)).to_ndarray(format="rgb48le")
    except (av.FFmpegError, StopIteration, ValueError) as error:
        raise InputError(f"the picture cannot be decoded ({error}); copy it again") from None


def encode_mp4(frames: np.ndarray, path: Path, *, rate: float, sound: tuple[np.ndarray, int] | None) -> None:
    """Write H.264 pictures and, if there is sound, AAC sound.

    Args:
        frames: uint8, frames × height × width × 3; height and width even.
        path: of the file.
        rate: frames a second.
        sound: float32, (samples,) in [-1, 1], and samples a second.
    """
    import av

    with av.open(str(path), "w", format="mp4") as container:
        pictures: Any = container.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(1001), options={"crf": "18"}
        )
        pictures.pix_fmt, pictures.height, pictures.width = "yuv420p", *frames.shape[1:3]
        track: Any = None if sound is None else container.add_stream("aac", rate=sound[1], layout="mono")
        for frame in frames:
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(pictures.encode(None))
        if sound is not None:
            samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[0][None]), format="fltp", layout="mono")
            samples.rate, samples.pts = sound[1], 0
            container.mux(track.encode(samples))
            container.mux(track.encode(None))


def _open_film(raw: str | bytes | Path) -> Any:
    """ffmpeg's view of a film. By path it is not read further than needed, and threads do not wait for each other."""
    import av

    raw = plain_file(raw)
    if isinstance(raw, bytes):
        empty = not raw
    else:
        try:
            with Path(raw).open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})") from None
    if empty:
        raise InputError("the file is empty; copy it again or remove it")
    try:
        return _open(io.BytesIO(raw) if isinstance(raw, bytes) else f"file:{raw}", FILM_FORMATS)
    except (av.FFmpegError, ValueError):
        raise InputError("this is not a video that can be decoded; convert it to .mp4 or remove it") from None


def _open(source: io.BytesIO | str, formats: str) -> Any:
    """A file of one of these formats, from which no other file is opened."""
    import av

    options = {"format_whitelist": formats, "protocol_whitelist": _PROTOCOLS}
    return av.open(source, "r", metadata_errors="replace", options=options)


def _picture_stream(container: Any) -> Any:
    """The stream of moving pictures; the cover of a song is not one."""
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not streams:
        raise Absent("there are no pictures in it; remove it or read it as sound")
    if streams[0].codec_context is None:
        raise InputError("its pictures are coded in a way that is not known; convert it to .mp4")
    return streams[0]


def _start_of_pictures(container: Any) -> float | None:
    """When the moving pictures of a film start, in seconds; None: it has none."""
    for stream in container.streams.video:
        if not _is_cover(stream) and stream.start_time is not None:
            return float(stream.start_time * stream.time_base)
    return None


def _is_cover(stream: Any) -> bool:
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)
