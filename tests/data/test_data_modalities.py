"""Examples of several signals, as people have them: columns, files of one name, films with sound; some lack one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import soundfile
from PIL import Image

from builders import film
from sensorium.config import from_dict, to_dict
from sensorium.data import DataConfig, Source, load_samples, open_files, open_source
from sensorium.data.samples import collate
from sensorium.errors import InputError
from sensorium.modalities import FusionConfig, ImageConfig, TableConfig, TextConfig, VideoConfig, build_modality
from sensorium.modalities.table import Column


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
    return path


def sound(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.5, 0.5, 800), 8000)
    return path


def said_again(source: Source) -> None:
    """The inferred description, written down, finds the same examples again."""
    again = open_source(source.path, description=from_dict(DataConfig, to_dict(source.description)))
    assert again.description == source.description
    assert again.kinds == source.kinds
    for name, part in source.splits.items():
        other = again.splits[name]
        assert list(part.names) == list(other.names)
        for modality in source.kinds:
            assert list(map(str, part.raws[modality])) == list(map(str, other.raws[modality]))


def everything(source: Source) -> dict[str, dict[str, Any]]:
    """The raws of each example by its name, of all splits."""
    return {
        name: {modality: raws[row] for modality, raws in part.raws.items()}
        for part in source.splits.values()
        for row, name in enumerate(part.names)
    }


# -- folders ----------------------------------------------------------------------------------------------------------


def paired(root: Path, count: int = 6) -> Path:
    """a/0.png with a/0.wav, and so on; a/1.wav and b/2.png are missing."""
    for place, label in enumerate("ab"):
        for number in range(count):
            if (label, number) != ("b", 2):
                picture(root / label / f"{number}.png", seed=10 * place + number)
            if (label, number) != ("a", 1):
                sound(root / label / f"{number}.wav", seed=10 * place + number)
    return root


def test_files_of_one_name_are_one_example(tmp_path: Path) -> None:
    """What one lacks is absent, not an error."""
    source = open_source(paired(tmp_path))
    assert source.kinds == {"audio": "audio", "image": "image"}
    found = everything(source)
    assert len(found) == 12
    assert found["a/0"] == {"audio": tmp_path / "a" / "0.wav", "image": tmp_path / "a" / "0.png"}
    assert found["a/1.png"] == {"audio": None, "image": tmp_path / "a" / "1.png"}
    assert found["b/2.wav"]["image"] is None
    assert not source.warnings
    said_again(source)


def test_splits_of_pairs(tmp_path: Path) -> None:
    paired(tmp_path / "train")
    paired(tmp_path / "test", count=3)
    source = open_source(tmp_path)
    assert {name: len(part) for name, part in source.splits.items()} == {"train": 12, "test": 6}
    said_again(source)


def test_a_stray_file_of_another_kind_makes_no_pairs(tmp_path: Path) -> None:
    """One note beside twelve pairs is left out; a folder of pictures and sounds that are no pairs stays refused."""
    (paired(tmp_path / "pairs") / "a" / "0.txt").write_text("a note")
    source = open_source(tmp_path / "pairs")
    assert set(source.kinds) == {"audio", "image"}
    assert source.warnings == ("1 files belong to no input and were left out, for example a/0.txt",)
    for number in range(5):
        picture(tmp_path / "mixed" / "a" / f"{number}.png", seed=number)
        sound(tmp_path / "mixed" / "b" / f"{number}.wav", seed=number)
    with pytest.raises(InputError, match="mix kinds of files"):
        open_source(tmp_path / "mixed")


def test_films_with_sound_are_two_signals(tmp_path: Path) -> None:
    """One that lacks it among them is no matter; where all do, there are pictures alone."""
    for number in range(12):
        film(tmp_path / "av" / "ab"[number % 2] / f"{number}.mkv", sound=number != 3, seed=number)
        film(tmp_path / "silent" / "ab"[number % 2] / f"{number}.mkv", sound=False, seed=number)
    source = open_source(tmp_path / "av")
    assert source.kinds == {"audio": "audio", "video": "video"}
    found = everything(source)
    assert found["b/3.mkv"] == dict.fromkeys(("audio", "video"), tmp_path / "av" / "b" / "3.mkv")
    said_again(source)
    silent = open_source(tmp_path / "silent")
    assert silent.kinds == {"video": "video"}
    said_again(silent)
    heard = open_source(tmp_path / "av", description=from_dict(DataConfig, {"inputs": {"audio": {"kind": "audio"}}}))
    assert heard.kinds == {"audio": "audio"}
    assert len(everything(heard)) == 12


def test_sound_of_its_own_comes_before_the_films(tmp_path: Path) -> None:
    for number in range(10):
        film(tmp_path / "ab"[number % 2] / f"{number}.mkv", sound=True, seed=number)
        if number:
            sound(tmp_path / "ab"[number % 2] / f"{number}.wav", seed=number)
    found = everything(open_source(tmp_path))
    assert found["b/1"] == {"audio": tmp_path / "b" / "1.wav", "video": tmp_path / "b" / "1.mkv"}
    assert found["a/0.mkv"]["audio"] == tmp_path / "a" / "0.mkv"


def test_described_globs(tmp_path: Path) -> None:
    """Two signals of one kind have no endings to tell them apart: globs do."""
    for number in range(10):
        picture(tmp_path / "ab"[number % 2] / f"{number}.png", seed=number)
        picture(tmp_path / "ab"[number % 2] / f"{number}.bmp", seed=100 + number)
    inputs = {"colour": {"kind": "image", "files": "*.png"}, "depth": {"files": "*.bmp"}}
    source = open_source(tmp_path, description=from_dict(DataConfig, {"inputs": inputs}))
    assert source.kinds == {"colour": "image", "depth": "image"}
    assert everything(source)["a/0"] == {"colour": tmp_path / "a" / "0.png", "depth": tmp_path / "a" / "0.bmp"}
    said_again(source)


# -- tables -----------------------------------------------------------------------------------------------------------


def test_an_empty_cell_of_one_signal_is_absent(tmp_path: Path) -> None:
    """A picture's path beside numbers and categories, which together are one table where they are described."""
    lines = ["photo,age,city,label"]
    for number in range(12):
        picture(tmp_path / f"{number}.png", seed=number)
        lines.append(
            f"{'' if number == 4 else f'{number}.png'},{20 + number % 3},{'xyz'[number % 3]},{'ab'[number % 2]}"
        )
    (tmp_path / "people.csv").write_text("\n".join(lines))
    (tmp_path / "dataset.yaml").write_text("inputs: {photo: {kind: image}, table: {kind: table, column: [age, city]}}")
    source = open_source(tmp_path)
    assert source.kinds == {"photo": "image", "table": "table"}
    found = everything(source)
    assert found["people.csv row 5"] == {"photo": None, "table": {"age": 21, "city": "y"}}
    assert found["people.csv row 1"]["photo"] == tmp_path / "0.png"
    said_again(source)


def test_the_only_signal_must_be_there(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    (tmp_path / "people.csv").write_text("photo,label\n0.png,a\n,b\n0.png,a\n")
    with pytest.raises(InputError, match="row 2: column 'photo' is empty"):
        open_source(tmp_path)


def test_films_in_a_column_have_sound_too(tmp_path: Path) -> None:
    lines = ["clip,label"]
    for number in range(10):
        film(tmp_path / f"{number}.mkv", sound=True, seed=number)
        lines.append(f"{number}.mkv,{'ab'[number % 2]}")
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    source = open_source(tmp_path)
    assert source.kinds == {"video": "video", "audio": "audio"}
    raws = source.splits["train"].raws
    assert list(raws["video"]) == list(raws["audio"])
    said_again(source)


def test_bytes_beside_text(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    columns = {
        "photo": pa.array([buffer.getvalue(), None] * 6, pa.binary()),
        "text": [f"what is said of number {number}" for number in range(12)],
        "label": ["a", "a", "b", "b"] * 3,
    }
    parquet.write_table(pa.table(columns), tmp_path / "said.parquet")
    source = open_source(tmp_path)
    assert source.kinds == {"photo": "image", "text": "text"}
    assert everything(source)["said.parquet row 2"]["photo"] is None


# -- samples ----------------------------------------------------------------------------------------------------------

SENSES = FusionConfig(
    modalities={
        "words": TextConfig(length=8, channels=4),
        "photo": ImageConfig(size=(8, 8), bands=2),
        "facts": TableConfig(columns=(Column(name="age"),), channels=4),
    }
)
PIXELS = np.full((8, 8, 3), 200, np.uint8)
LINES = [
    {"words": "abc", "photo": PIXELS, "facts": [1.0]},
    {"words": None, "photo": PIXELS, "facts": [2.0]},
    {"words": "abcde", "photo": None, "facts": [3.0]},
]


def test_fields_that_some_lack_are_zeros() -> None:
    """Padded, masked and told absent; an example's fields are the same in whatever company."""
    it = build_modality(SENSES)
    samples = [it.load(line) for line in LINES]
    batch = collate(samples, ragged=["words"])
    assert batch["words"].shape == (3, 5)
    assert batch["words.mask"].sum(1).tolist() == [3, 0, 5]
    assert batch["words.present"].tolist() == [True, False, True]
    assert batch["photo.present"].tolist() == [True, True, False]
    assert (batch["photo"][2] == 0).all()
    alone = collate(samples[1:2], ragged=["words"])
    assert "words" not in alone
    assert alone["words.present"].tolist() == [False]
    it.embed(it.view(alone))


@pytest.mark.parametrize("budget", [None, 0])
def test_decoding_several_senses(budget: int | None) -> None:
    """Kept in memory or read again each time; of examples of one length, too."""
    from sensorium.data import Examples

    raws = {name: [line[name] for line in LINES] for name in ("words", "photo", "facts")}
    examples = Examples(raws, np.arange(3), ["a", "b", "c"])
    it = build_modality(SENSES)
    samples = load_samples(examples.for_modality(it), [it], budget=budget)
    for rows in ([0, 1, 2], [1], [2, 1]):
        batch = samples.batch(rows)
        assert batch["photo.present"].tolist() == [row != 2 for row in rows]
        assert torch_rows(it, batch) == len(rows)
    same_length = [{**line, "words": line["words"] and "abc"} for line in LINES]
    even = collate([it.load(line) for line in same_length], ragged=["words"])
    assert even["words.mask"].sum(1).tolist() == [3, 0, 3]


def torch_rows(it: Any, batch: dict[str, Any]) -> int:
    array = it.embed(it.view(batch))
    assert array.dense().isfinite().all()
    return array.batch


def test_an_example_without_anything_is_set_aside() -> None:
    from sensorium.data import Examples

    it = build_modality(
        FusionConfig(modalities={"words": SENSES.modalities["words"], "photo": SENSES.modalities["photo"]})
    )
    raws = {"words": ["abc"] * 150 + [None], "photo": [None] * 151}
    examples = Examples(raws, None, [f"row {number}" for number in range(151)])
    samples = load_samples(examples.for_modality(it), [it])
    assert samples.set_aside == ("row 150: it has none of words, photo; remove it",)


def test_data_with_a_signal_that_the_model_does_not_read() -> None:
    from sensorium.data import Examples

    with pytest.raises(InputError, match="the data has 'word', which the model does not read; did you mean 'words'"):
        Examples({"word": ["a"], "photo": [None]}, None, ["a"]).for_modality(build_modality(SENSES))


# -- single files -----------------------------------------------------------------------------------------------------


def raws_of(files: list[Path], it: Any, **described: Any) -> list[Any]:
    examples = open_files(files, it, description=from_dict(DataConfig, described)).examples
    return list(examples.raws[it.name])


def test_files_to_ask_about(tmp_path: Path) -> None:
    """Files of one name together, films with their sound, lines of tables as they were trained on."""
    from sensorium.modalities import AudioConfig

    it = build_modality(FusionConfig(modalities={"audio": AudioConfig(), "image": ImageConfig()}))
    png, wav, other = picture(tmp_path / "a.png"), sound(tmp_path / "a.wav"), sound(tmp_path / "b.wav")
    assert raws_of([png, other, wav], it) == [{"audio": wav, "image": png}, {"audio": other, "image": None}]
    clip = film(tmp_path / "c.mkv", sound=True)
    both = build_modality(FusionConfig(modalities={"video": VideoConfig(), "audio": AudioConfig()}))
    assert raws_of([clip], both) == [{"video": clip, "audio": clip}]
    assert raws_of([wav], both) == [{"video": None, "audio": wav}]
    with pytest.raises(InputError, match=r"a.png: it holds image, the model reads audio, video"):
        raws_of([png], both)
    (tmp_path / "people.csv").write_text("portrait,age,label\na.png,3,x\n,4,y\n")
    inputs = {"photo": {"kind": "image", "column": "portrait"}, "facts": {"kind": "table", "column": ["age"]}}
    parts = {"photo": SENSES.modalities["photo"], "facts": SENSES.modalities["facts"]}
    lines = raws_of(
        [tmp_path / "people.csv"], build_modality(FusionConfig(modalities=parts)), layout="table", inputs=inputs
    )
    assert lines == [{"photo": png, "facts": {"age": 3}}, {"photo": None, "facts": {"age": 4}}]


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"audio": {"kind": "audio"}, "video": {"kind": "video"}}, "hold no files of the kind 'video'"),
        ({"image": {}, "sound": {}}, "what the input 'sound' is cannot be guessed; say its kind"),
        ({"image": {}, "audio": {"files": "*.mp3", "kind": "audio"}}, r"hold no files '\*.mp3'"),
    ],
)
def test_inputs_that_are_not_there(tmp_path: Path, inputs: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        open_source(paired(tmp_path), description=from_dict(DataConfig, {"inputs": inputs}))


def test_class_folders_have_no_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no columns, so `group` means nothing"):
        open_source(paired(tmp_path), description=DataConfig(group="who"))


# -- AudioSet ---------------------------------------------------------------------------------------------------------

HEADER = (
    "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=3\n"
    "# YTID, start_seconds, end_seconds, positive_labels\n"
)


def audioset(root: Path) -> Path:
    """Clips as downloaders name them: the id alone, with the start after it, or with a Y before it."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [
        '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"',
        'Y_aaaaaaaa_, 0.000, 10.000, "/m/05zppz"',
        'cccccccccc1, 0.000, 10.000, "/m/09x0r"',
        'gone-for-go, 0.000, 10.000, "/m/09x0r"',
    ]
    (root / "balanced_train_segments.csv").write_text(HEADER + "\n".join(lines))
    (root / "eval_segments.csv").write_text(HEADER + 'eeeeeeeeeee, 1.000, 11.000, "/t/dd00088,/m/05zppz"\n')
    names = (
        'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n2,/t/dd00088,"Gush"\n'
    )
    (root / "class_labels_indices.csv").write_text(names)
    film(root / "clips" / "--PJHxphWEs_30.000.mkv", sound=True)
    film(root / "clips" / "Y_aaaaaaaa_.mkv", sound=False, seed=1)
    film(root / "clips" / "eeeeeeeeeee.mkv", sound=True, seed=2)
    sound(root / "clips" / "Ycccccccccc1.wav")
    return root


def test_audioset_as_published(tmp_path: Path) -> None:
    """Tags by their names and in their order, given splits, segments without a clip left out."""
    source = open_source(audioset(tmp_path))
    assert source.kinds == {"audio": "audio", "video": "video"}
    assert source.task == "tag"
    assert source.classes == ("Speech", "Male speech, man speaking", "Gush")
    assert source.warnings[0] == "1 of 5 segments have no clip here and were left out"
    train, test = source.splits["train"], source.splits["test"]
    assert train.targets is not None
    assert train.targets.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert list(test.names) == ["eval_segments.csv eeeeeeeeeee"]
    assert [path and path.name for path in train.raws["video"]] == ["--PJHxphWEs_30.000.mkv", "Y_aaaaaaaa_.mkv", None]
    assert train.raws["audio"][2] == tmp_path / "clips" / "Ycccccccccc1.wav"
    again = open_source(tmp_path, description=from_dict(DataConfig, to_dict(source.description)))
    assert (again.kinds, again.classes, again.description) == (source.kinds, source.classes, source.description)


def test_audioset_without_clips_or_with_a_broken_line(tmp_path: Path) -> None:
    (tmp_path / "eval_segments.csv").write_text(HEADER + "a, 1.000, 2.000\n")
    with pytest.raises(InputError, match=r"eval_segments.csv:4: a segment is: id, start, end"):
        open_source(tmp_path)
    (tmp_path / "eval_segments.csv").write_text(HEADER + 'a, 1.000, 2.000, "/m/1"\n')
    with pytest.raises(InputError, match="no segment has a clip here"):
        open_source(tmp_path)
    audioset(tmp_path / "other")
    (tmp_path / "other" / "class_labels_indices.csv").write_text("number,name\n0,Speech\n")
    with pytest.raises(InputError, match=r"class_labels_indices.csv: its columns are"):
        open_source(tmp_path / "other")
