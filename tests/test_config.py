"""Configurations: YAML and back, strict keys, overrides."""

from __future__ import annotations

import dataclasses
import importlib
import string
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pydantic
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import sensorium
from sensorium.config import OneOf, from_dict, override, read_yaml, record, to_dict, to_yaml
from sensorium.errors import InputError, did_you_mean


@record
class Cat:
    kind: Literal["cat"] = "cat"
    lives: int = 9


@record
class Dog:
    kind: Literal["dog"] = "dog"
    tricks: tuple[str, ...]


@record
class House:
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")] = Cat()
    rooms: tuple[int | None, ...] = (1, None)
    rent: float = 1.5
    size: tuple[int, int] | None = None


# -- every record there is

words = st.text(string.ascii_letters + string.digits + " .:-_#'\"äß中", max_size=8)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(str, words)


def records() -> list[type]:
    """Every record declared in sensorium."""
    root = Path(sensorium.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = [part for part in path.relative_to(root).with_suffix("").parts if part != "__init__"]
        if "@record" in path.read_text(encoding="utf-8"):
            module = importlib.import_module(".".join(["sensorium", *parts]))
            found += [
                value
                for value in vars(module).values()
                if dataclasses.is_dataclass(value)
                and "__pydantic_config__" in vars(value)
                and value.__module__ == module.__name__
            ]
    return found


def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type; of a field that is open to the classes of a table, a configuration of any of them."""
    if get_origin(hint) is Annotated:
        tables = [part for part in hint.__metadata__ if isinstance(part, OneOf)]
        return (
            st.one_of([any_record(cls) for table in tables for cls in table.records()])
            if tables
            else any_of(hint.__origin__)
        )
    if get_origin(hint) is dict:
        key, value = get_args(hint)
        return st.dictionaries(any_of(key), any_of(value), max_size=3)
    if get_origin(hint) in (Union, UnionType):
        return st.one_of([any_of(part) for part in get_args(hint)])
    return any_record(hint) if dataclasses.is_dataclass(hint) else st.from_type(hint)


def any_record(cls: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls)]
    return st.builds(cls, **{name: any_of(hints[name]) for name in names})


@pytest.mark.parametrize("cls", [House, *records()], ids=lambda cls: cls.__name__)
@settings(max_examples=8)
@given(data=st.data())
def test_records_survive_yaml(cls: type, data: st.DataObject) -> None:
    """Any values: to YAML and back is the same record; the plain form is plain; keys keep their order."""
    config = data.draw(any_record(cls))
    text = to_yaml(config)
    assert from_dict(cls, yaml.safe_load(text)) == config
    assert to_dict(config) == yaml.safe_load(text)
    assert list(yaml.safe_load(text)) == [field.name for field in dataclasses.fields(cls)]


def test_there_are_records() -> None:
    """The law above is about the parts of a model and the recipe too."""
    names = {cls.__name__ for cls in records()}
    assert names >= {
        "EncoderConfig",
        "ImageConfig",
        "PointsConfig",
        "ClassifyConfig",
        "PerceiverConfig",
        "RecipeConfig",
    }


@pytest.mark.parametrize("cls", records(), ids=lambda cls: cls.__name__)
def test_records_are_frozen_and_by_keyword_only(cls: type) -> None:
    with pytest.raises(TypeError, match="positional"):
        cls(1)
    config = object.__new__(cls)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(cls)[0].name, 1)


# -- what is refused, and how it is told


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"roms": [1]}, "config: nothing is called 'roms'; did you mean 'rooms'?"),
        ({"zzz": 1}, "config: nothing is called 'zzz'; known: pet, rent, rooms, size"),
        ({"rent": "much"}, "config: rent = 'much': input should be a valid number"),
        ({"size": 3}, "config: size = 3: "),
        ({"pet": {"kind": "dog"}}, "tricks' is missing"),
        ({"pet": {"kind": "cat", "live": 1}}, "did you mean 'lives'?"),
        ({"pet": {"kind": "cow"}}, "config: pet = "),
        ({"pet": {"lives": 1}}, "kind"),
        ({"rooms": [1, "two"]}, "config: rooms.1"),
        (None, "config: it = None: "),
        ([1], "config: it = [1]: "),
    ],
)
def test_mistakes_are_named_with_their_place(values: Any, message: str) -> None:
    """One line with the dotted place and, for a name that does not exist, the nearest one that does."""
    with pytest.raises(InputError) as caught:
        from_dict(House, values)
    assert message in str(caught.value)
    assert str(caught.value).startswith("config: ")
    assert "\n" not in str(caught.value)


def test_a_missing_value_is_named() -> None:
    with pytest.raises(InputError, match=r"run\.yaml: 'tricks' is missing"):
        from_dict(Dog, {}, where="run.yaml")


def test_the_place_is_written_as_it_is_in_the_file() -> None:
    """A choice among records adds nothing to the path: it is what --set takes."""
    with pytest.raises(InputError, match=r"'pet\.live'"):
        from_dict(House, {"pet": {"kind": "cat", "live": 1}})


@pytest.mark.parametrize(
    ("word", "known", "answer"),
    [("imagee", ["image", "audio"], "did you mean 'image'?"), ("q", ["b", "a"], "known: a, b")],
)
def test_did_you_mean(word: str, known: list[str], answer: str) -> None:
    assert did_you_mean(word, known) == answer


# -- files


def test_files_that_are_not_yaml_are_named(tmp_path: Path) -> None:
    """With the line; a missing one and one that is no text too."""
    path = tmp_path / "config.yaml"
    with pytest.raises(InputError, match=r"config.yaml: cannot be read"):
        read_yaml(path)
    path.write_text("a: 1\nb: [1, 2\nc: 3\n")
    with pytest.raises(InputError, match=r"config.yaml:3: not valid YAML"):
        read_yaml(path)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InputError, match=r"config.yaml"):
        read_yaml(path)
    path.write_text(to_yaml(House(pet=Dog(tricks=("Männchen",)))), encoding="utf-8")
    assert from_dict(House, read_yaml(path)) == House(pet=Dog(tricks=("Männchen",)))


# -- overrides

keys = st.sampled_from(["a", "b", "c"])
trees = st.dictionaries(
    keys, st.recursive(st.integers() | st.booleans(), lambda below: st.dictionaries(keys, below, max_size=3))
)


def leaves(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= leaves(value, f"{path}{key}.") if isinstance(value, dict) else {path + key: value}
    return found


@given(tree=trees, value=st.integers(), data=st.data())
def test_overriding_sets_one_leaf_and_nothing_else(tree: dict[str, Any], value: int, data: st.DataObject) -> None:
    """The others stay, the original stays, and a second time changes nothing."""
    before = leaves(tree)
    if not before:
        return
    path = data.draw(st.sampled_from(sorted(before)))
    result = override(tree, [f"{path}={value}"])
    assert leaves(result) == {**before, path: value}
    assert leaves(tree) == before
    assert override(result, [f"{path}={value}"]) == result
    assert override(tree, [f"{path}=0", f"{path}={value}"]) == result, "the last one counts"


@given(tree=trees)
def test_no_overrides_change_nothing(tree: dict[str, Any]) -> None:
    assert override(tree, []) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [("[0, null, 1]", [0, None, 1]), ("null", None), ("true", True), ("1e-3", "1e-3"), ("a=b", "a=b"), ("", None)],
)
def test_values_are_read_as_yaml(text: str, value: Any) -> None:
    """The first = is the one that counts; YAML's own 1e-3 is a word, which a record of numbers takes."""
    assert override({}, [f"x={text}"]) == {"x": value}


def test_a_number_in_short_form_arrives_as_a_number() -> None:
    """--set rent=1e-3 means what it says."""
    assert from_dict(House, override(to_dict(House()), ["rent=1e-3"])).rent == 1e-3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rent", "name.name=value"),
        ("=1", "name.name=value"),
        ("pett.lives=1", "nothing is called 'pett' here; did you mean 'pet'?"),
        ("rent.high=1", "nothing is called 'rent' here"),
        ("rooms=[1", "not valid YAML"),
    ],
)
def test_overrides_that_mean_nothing_are_refused(setting: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        override(to_dict(House()), [setting])
    assert message in str(caught.value)


def test_an_override_of_a_name_that_does_not_exist_is_found_by_the_record() -> None:
    with pytest.raises(InputError, match="did you mean 'lives'"):
        from_dict(House, override(to_dict(House()), ["pet.livs=1"]))


# -- tables of classes


class Bird:
    """A class with a configuration, as a modality is one."""

    config: Dog


class Puma:
    config: Cat


PETS: dict[str, type] = {}


@record
class Cage:
    pet: Annotated[Any, OneOf(PETS)]


def test_an_entry_of_a_table_is_known_as_soon_as_it_is_there() -> None:
    """A field takes what its table holds when the configuration is read; errors name the place in the file."""
    PETS["dog"] = Bird
    assert from_dict(Cage, {"pet": {"kind": "dog", "tricks": ["sit"]}}).pet == Dog(tricks=("sit",))
    with pytest.raises(InputError, match=r"nothing is called 'pet\.trick'; did you mean 'tricks'\?"):
        from_dict(Cage, {"pet": {"kind": "dog", "tricks": ["sit"], "trick": 1}})
    PETS["cat"] = Puma
    assert from_dict(Cage, {"pet": {"kind": "cat"}}).pet == Cat()
    assert to_dict(Cage(pet=Cat(lives=3))) == {"pet": {"kind": "cat", "lives": 3}}
    with pytest.raises(InputError, match="'fish'"):
        from_dict(Cage, {"pet": {"kind": "fish"}})
    with pytest.raises(InputError, match="pet"):
        from_dict(Cage, {"pet": {"lives": 3}})
