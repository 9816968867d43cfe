"""Configurations: frozen dataclasses to YAML and back, strict keys, ``--set a.b=c`` overrides.

A component declares its configuration beside its class with ``@record``. A field that may hold one of several records
tells them apart by their ``kind``; where the classes are listed in a table, :class:`OneOf` reads the table.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import reprlib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

import pydantic
import yaml
from pydantic_core import CoreSchema

from .errors import InputError, did_you_mean

T = TypeVar("T")

# Bounds of a file that people write: PyYAML takes ten seconds for a megabyte.
MOST_YAML = 1 << 20  # bytes
MOST_VALUES = 1_000_000  # in a YAML file with its aliases written out
MOST_DEPTH = 50  # of lists and mappings inside each other
# What PyYAML raises besides its own errors: a date of month 13, an ``!!int`` without digits, brackets without end.
YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """A frozen, keyword-only dataclass whose values are checked and whose unknown keys are refused."""
    cls.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


_tables: list[Mapping[str, type]] = []  # of every OneOf


class OneOf:
    """Marks a field that holds the configuration of one of the classes in a table: ``Annotated[Any, OneOf(table)]``.

    The table is read when a configuration is, so an entry that is added later is known, too.

    Args:
        table: class by kind. The configuration record of a class is what its ``config`` attribute is annotated with,
            or the record in the brackets of its generic base: ``class Image(Modality[ImageConfig])``.
        default: the kind of a configuration that does not say its kind; None: it must say it.
    """

    def __init__(self, table: Mapping[str, type], *, default: str | None = None) -> None:
        self.table = table
        self.default = default
        _tables.append(table)

    def records(self) -> tuple[type, ...]:
        """The configuration record of each class in the table."""
        return tuple(record_of(cls) for cls in self.table.values())

    def __get_pydantic_core_schema__(self, source: Any, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        records = self.records()
        if len(records) == 1:
            return handler.generate_schema(records[0])
        union: Any = typing.Union[records]  # noqa: UP007
        if self.default is None:
            return handler.generate_schema(typing.Annotated[union, pydantic.Field(discriminator="kind")])
        tagged = tuple(typing.Annotated[cls, pydantic.Tag(kind)] for kind, cls in zip(self.table, records, strict=True))
        union = typing.Union[tagged]  # noqa: UP007
        return handler.generate_schema(typing.Annotated[union, pydantic.Discriminator(self._kind_of)])

    def _kind_of(self, value: Any) -> Any:
        return value.get("kind", self.default) if isinstance(value, Mapping) else getattr(value, "kind", None)


def record_of(cls: type) -> type:
    """The configuration record of a class.

    Raises:
        TypeError: the class does not say which record it takes.
    """
    for base in cls.__mro__:
        found = typing.get_type_hints(base).get("config") if "config" in vars(base).get("__annotations__", {}) else None
        arguments = [
            argument for generic in vars(base).get("__orig_bases__", ()) for argument in typing.get_args(generic)
        ]
        for candidate in (found, *arguments):
            if isinstance(candidate, type) and dataclasses.is_dataclass(candidate):
                return candidate
    raise TypeError(f"{cls.__name__} does not say which configuration it takes; annotate its attribute 'config'")


def _adapter(cls: type[T]) -> pydantic.TypeAdapter[T]:
    """What reads and writes records of class ``cls``. It is made once, and anew when a table has another entry."""
    return _adapter_of(typing.cast(typing.Hashable, cls), tuple(tuple(table.values()) for table in _tables))


@functools.lru_cache
def _adapter_of(cls: Any, classes: tuple[tuple[type, ...], ...]) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(cls)


def to_dict(config: object) -> dict[str, Any]:
    """The plain form of a record: dicts, lists, strings and numbers only."""
    return _adapter(type(config)).dump_python(config, mode="json")


def from_dict(cls: type[T], values: Any, *, where: str = "config") -> T:
    """The record of class ``cls`` that ``values`` spell out.

    Raises:
        InputError: an unknown key, a missing one, or a value of the wrong type, with the dotted name of its place.
    """
    try:
        return _adapter(cls).validate_python(values)
    except pydantic.ValidationError as error:
        raise InputError(f"{where}: {_first_problem(cls, error)}") from None
    except (RecursionError, OverflowError) as error:
        raise InputError(f"{where}: not a configuration ({error})") from None


def to_yaml(config: object, *, sparse: bool = False) -> str:
    """The YAML text of a record, keys in the order of the class; ``sparse`` leaves out what is None or empty."""
    values = _adapter(type(config)).dump_python(config, mode="json", exclude_none=sparse)
    if sparse:
        values = {name: value for name, value in values.items() if value not in ([], {})}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def read_yaml(path: Path) -> Any:
    """The plain values in a YAML file.

    Raises:
        InputError: the file is missing, is not YAML, or holds more or deeper values than a configuration can have.
    """
    try:
        if (size := path.stat().st_size) > MOST_YAML:
            raise InputError(f"{size:,} bytes, and a configuration has at most {MOST_YAML:,}; is it another file?")
        return _parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except YAML_ERRORS as error:
        line = getattr(error, "problem_mark", None)
        line_number = f":{line.line + 1}" if line else ""
        problem = str(getattr(error, "problem", None) or error or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}{line_number}: not valid YAML ({problem})") from None


def _parse_yaml(text: str) -> Any:
    """The values in a YAML text, which must not be too many or too deep once its aliases are written out."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        level = [] if node is None else [node]
        count = depth = 0
        while level:
            count, depth = count + len(level), depth + 1
            if count > MOST_VALUES or depth > MOST_DEPTH:
                raise InputError(
                    f"more than {MOST_VALUES:,} values, or more than {MOST_DEPTH} lists inside each other; simplify it"
                )
            level = [child for part in level for child in _children(part)]
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def read_json(path: Path) -> dict[str, Any]:
    """The plain values in a JSON file that holds a mapping.

    Raises:
        InputError: the file is missing or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"it holds no mapping but {type(values).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error}); copy or make it again") from None
    return values


def override(values: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Plain values with ``a.b=c`` settings applied; the right side is read as YAML. Keys are checked by ``from_dict``.

    >>> override({"encoder": {"latent_channels": 64}}, ["encoder.latent_channels=128", "seed=1"])
    {'encoder': {'latent_channels': 128}, 'seed': 1}
    """
    result: dict[str, Any] = _copy(values)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise InputError(f"--set {setting}: write it as name.name=value")
        *parents, last = path.split(".")
        mapping = result
        for name in parents:
            below = mapping.get(name)
            if not isinstance(below, dict):
                raise InputError(f"--set {setting}: nothing is called {name!r} here; {did_you_mean(name, mapping)}")
            mapping = below
        try:
            mapping[last] = _parse_yaml(text)
        except (InputError, *YAML_ERRORS):
            raise InputError(f"--set {setting}: the value is not valid YAML; quote it") from None
    return result


def _copy(values: Any) -> Any:
    return {key: _copy(value) for key, value in values.items()} if isinstance(values, dict) else values


def _first_problem(cls: type, error: pydantic.ValidationError) -> str:
    problem = error.errors()[0]
    key = ".".join(str(part) for part in _written(cls, problem["loc"]))
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        name = str(problem["loc"][-1])
        return f"nothing is called {key!r}; {did_you_mean(name, _names_at(cls, problem['loc'][:-1]))}"
    if problem["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{key!r} is missing"
    message = problem["msg"][:1].lower() + problem["msg"][1:]
    return f"{key or 'it'} = {reprlib.repr(problem.get('input'))}: {message}"


def _names_at(cls: Any, loc: tuple[Any, ...]) -> list[str]:
    """The field names of every record that may stand under a key: what the user could have meant."""
    return [field.name for candidate in _records_at(cls, loc) for field in dataclasses.fields(candidate)]


def _records_at(cls: Any, loc: tuple[Any, ...]) -> list[Any]:
    """Every record that may stand under a key."""
    return [candidate for candidate in _hints_at(cls, loc) if dataclasses.is_dataclass(candidate)]


def _hints_at(cls: Any, loc: tuple[Any, ...]) -> list[Any]:
    """Every record or mapping that may stand under a key."""
    candidates: list[Any] = [cls]
    for part in loc:
        below: list[Any] = []
        for candidate in candidates:
            if typing.get_origin(candidate) is dict:
                below += _parts(typing.get_args(candidate)[1])
            elif dataclasses.is_dataclass(candidate):
                if isinstance(kind := getattr(candidate, "kind", None), str) and kind == part:
                    below.append(candidate)
                    continue
                hint = typing.get_type_hints(candidate, include_extras=True).get(str(part))
                if hint is not None:
                    below += _parts(hint)
        candidates = below
    return candidates


def _written(cls: type, loc: tuple[Any, ...]) -> list[Any]:
    """The key as it is in the file: without the kinds that pydantic adds where a field may hold several records."""
    return [
        part
        for at, part in enumerate(loc)
        if not any(part == getattr(candidate, "kind", None) for candidate in _records_at(cls, loc[:at]))
    ]


def _parts(hint: Any) -> list[Any]:
    """The records and mappings in a field's type."""
    if isinstance(hint, OneOf):
        return list(hint.records())
    if dataclasses.is_dataclass(hint) or typing.get_origin(hint) is dict:
        return [hint]
    parts = (
        (hint.__origin__, *hint.__metadata__) if typing.get_origin(hint) is typing.Annotated else typing.get_args(hint)
    )
    return [found for part in parts for found in _parts(part)]
