"""No file crashes, hangs or exhausts the program: what can be read is read, and the rest gets its one line.

``make faults`` reads 20,000 damaged files; the quick tests a few hundred of them, among them all those that once were
read wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("resource", reason="limits of memory are those of Unix")

from reading import Reader, damaged, reader
from small_files import SMALL_FILES, small_file

from sensorium.codecs import arrays, tables
from sensorium.files import ending
from sensorium.modalities import KINDS

SEEDS = 304  # of damage, for each of the small files
QUICK = 3

# Damage that once raised something else, ended the program or kept it busy, by file and seed.
FOUND: dict[str, tuple[int, ...]] = {
    "hdf.mat": (5, 6, 10, 17, 26, 70),  # RuntimeError of HDF5's groups
    "a.h5": (9, 11, 17, 18, 21, 196),  # RuntimeError of HDF5's objects and attributes
    "four.mat": (45, 163),  # a problem in several lines
    "dataset.yaml": (1, 9),
    "a.xlsx": (4, 5, 20, 33),  # zlib.error
    "a.npz": (16, 44, 48),
    "a.npy": (8, 18, 21, 40),  # TokenError; an array longer than its file; a zip archive
    "grid.npy": (8, 41, 50, 79, 156),
    "a.las": (3, 22, 28, 32, 34, 36),  # billions of records, read one by one
    "a.laz": (2, 4, 5, 6, 14, 21, 33, 34, 38, 52),  # memory for billions of chunks: the decoder ended the program
    "a.dcm": (29, 35, 42, 51),  # elements that are converted when they are asked for; 4 GB read at once
    "frames.dcm": (1, 4, 36, 51, 238, 250),
    "a.webp": (37,),  # TypeError of a TIFF's tags
    "a.nii.gz": (60,),
    "two.nii": (33, 58, 174),  # OrientationError
    "a.mp3": (9,),  # the number of channels changes
    "a.au": (6,),  # seven samples a second
    "a.arrow": (42, 111, 183),  # offsets beyond the end of a column: a segmentation fault
    "a.ply": (18, 43),  # UnboundLocalError in trimesh
    "a.mkv": (287,),  # sound of 17 channels: a segmentation fault in PyAV
    "deflated.tif": (178,),  # twelve million strips, looked for one by one
    "plain.mat": (238, 285),  # an element of a type that there is not: a segmentation fault in SciPy
    "a.tsv": (102,),  # a column of nothing
    "a.pcd": (119,),  # a header without its last line
    "zstd.parquet": (238,),  # letters that are none
    "file.arrow": (170,),
    "lzw.tif": (197,),
    "stored.npz": (123,),
    "pax.tar": (58,),  # a class that is no text
    "config.json": (143, 294),  # sizes that no memory holds
}


@pytest.fixture(scope="module")
def started() -> Iterator[Reader]:
    with reader() as started:
        yield started


def check(started: Reader, name: str, seeds: list[int]) -> None:
    wrong = []
    for seed in seeds:
        outcome, detail = started.read(name, damaged(name, seed))
        if outcome not in ("value", "refused"):
            wrong.append((seed, outcome, detail))
    assert not wrong, f"{name}: of {len(seeds)} damaged files {len(wrong)} were read wrongly: {wrong[:10]}"


def test_there_is_a_small_file_of_every_format_that_is_read() -> None:
    """But for other endings of the same formats."""
    alike = {".jpeg": ".jpg", ".tiff": ".tif", ".aif": ".aiff", ".opus": ".ogg", ".md": ".txt", ".pq": ".parquet"}
    alike |= {".m4v": ".mp4", ".3gp": ".mp4", ".webm": ".mkv", ".ogv": ".ogg", ".hdf5": ".h5", ".ndjson": ".jsonl"}
    by_ffmpeg_too = {".mpg", ".mpeg", ".wmv", ".flv"}
    known = {suffix for cls in KINDS.values() for suffix in (*cls.suffixes, *cls.also_reads)}
    known |= {*arrays.SUFFIXES, *tables.SUFFIXES, ".ts", ".flo", ".tar"}
    assert {alike.get(suffix, suffix) for suffix in known - by_ffmpeg_too} <= {ending(name) for name in SMALL_FILES}


@pytest.mark.parametrize("name", SMALL_FILES)
def test_sound_files_are_read(started: Reader, name: str) -> None:
    assert started.read(name, small_file(name))[0] == "value"


@pytest.mark.parametrize("name", SMALL_FILES)
def test_damaged_files_are_read_or_refused(started: Reader, name: str) -> None:
    check(started, name, sorted({*range(1, QUICK + 1), *FOUND.get(name, ())}))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SMALL_FILES)
def test_many_damaged_files_are_read_or_refused(started: Reader, name: str) -> None:
    """20,000 in all."""
    assert SEEDS * len(SMALL_FILES) >= 20_000
    check(started, name, list(range(1, SEEDS + 1)))


def test_the_reader_tells_what_is_wrong(started: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer itself: a hang, a crash, a defect and a lack of memory do not pass for a refusal."""
    import os
    import time

    import reading

    def ends(content: bytes) -> object:
        return {
            b"hang": lambda: time.sleep(60),
            b"crash": os.abort,
            b"memory": lambda: bytearray(reading.MEMORY + (1 << 30)),
            b"defect": lambda: {}["nothing"],
        }[content]()

    monkeypatch.setattr(reading, "ways", lambda path: iter([lambda: ends(path.read_bytes())]))
    with reader(seconds=2.0) as broken:
        outcomes = {content: broken.read("a.txt", content)[0] for content in (b"hang", b"crash", b"memory", b"defect")}
    assert outcomes == {b"hang": "hang", b"crash": "crash", b"memory": "defect", b"defect": "defect"}
