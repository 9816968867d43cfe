"""What is read, for people who have something else."""

from __future__ import annotations

from collections.abc import Iterable

from ...codecs import arrays, tables
from ...errors import did_you_mean
from ...modalities import KINDS

# Endings that are not read -> what to make of them.
_CONVERT: dict[str, str] = {
    **dict.fromkeys((".heic", ".heif", ".avif", ".jxl"), "convert it to .jpg"),
    **dict.fromkeys((".svg", ".psd", ".eps", ".ai", ".xcf"), "convert it to .png"),
    **dict.fromkeys((".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng"), "convert it to .tif or .jpg"),
    **dict.fromkeys((".wma", ".aac", ".amr", ".mid", ".midi", ".ra"), "convert it to .wav or .flac"),
    **dict.fromkeys((".rm", ".rmvb", ".vob", ".ts4", ".swf"), "convert it to .mp4"),
    **dict.fromkeys((".doc", ".docx", ".odt", ".rtf", ".epub", ".html", ".htm", ".xml"), "save it as .txt"),
    ".pdf": "save its text as .txt, or its pages as .png",
    **dict.fromkeys((".xls", ".ods", ".xlsm", ".numbers"), "save it as .xlsx or .csv"),
    **dict.fromkeys((".rds", ".rdata", ".sav", ".dta", ".sas7bdat", ".arff"), "save it as .csv or .parquet"),
    **dict.fromkeys((".orc", ".avro", ".db", ".sqlite", ".tfrecord"), "save it as .parquet"),
    ".json": "write it as .jsonl, one object a line",
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".pt", ".pth"), "save it as .npz; pickles are never loaded"),
    **dict.fromkeys((".zarr", ".nc", ".fits", ".dat", ".bin"), "save it as .npy, .npz or .h5"),
    **dict.fromkeys((".set", ".fdt", ".vhdr", ".fif", ".gdf", ".cnt", ".hea"), "convert it to .edf"),
    **dict.fromkeys((".mgz", ".mgh", ".nrrd", ".nhdr", ".mhd", ".mha", ".img", ".hdr"), "convert it to .nii.gz"),
    **dict.fromkeys((".e57", ".pts", ".ptx"), "convert it to .las or .ply"),
    **dict.fromkeys((".fbx", ".blend", ".step", ".stp", ".dae", ".3ds"), "convert it to .ply or .stl"),
    **dict.fromkeys((".c3d", ".bvh", ".tsf"), "save it as .csv"),
    **dict.fromkeys((".zip", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst"), "unpack it first"),
}


def cure(endings: Iterable[str]) -> str:
    """What to make of files that are not read, by their endings; what is read, where nothing is known of them.

    >>> cure([".docx"]), cure([".cvs"])
    ('save it as .txt', "did you mean '.csv'?")
    """
    endings = sorted(endings)
    for suffix in endings:
        if suffix in _CONVERT:
            return _CONVERT[suffix]
    known = {
        *tables.SUFFIXES,
        *arrays.SUFFIXES,
        ".ts",
        *(suffix for kind in KINDS.values() for suffix in kind.suffixes),
    }
    for suffix in filter(None, endings):
        if (guess := did_you_mean(suffix, known)).startswith("did"):
            return guess
    first = [f"{name} ({', '.join(kind.suffixes[:2])})" for name, kind in KINDS.items() if kind.suffixes]
    return (
        f"what is read: {', '.join(first)}, tables (.csv, .parquet), arrays (.npz, .h5); docs/formats.md has them all"
    )
