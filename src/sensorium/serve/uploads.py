"""The examples of a request: files in a multipart form, or signals as JSON. Nothing in it is taken for a path."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from ..data import DataConfig, Unlabelled, open_signals, open_strange_files
from ..errors import InputError, did_you_mean
from ..files import ending, without_ending
from ..modalities import Modality

FILE = "file"  # the field of files that are not named by a signal
_SUFFIX = re.compile(r"\.[a-z0-9]{1,10}")
_WORDS = ("text", "label")  # kinds of signal that are text
_LONGEST_NAME = 120


@dataclass(frozen=True)
class Part:
    """A part of a form.

    Attributes:
        field: its name: of a signal, or ``file``.
        name: of the file, as the client calls it; its ending is used, and it is said in answers.
        content: the file, or the text of a field that is none.
    """

    field: str
    name: str
    content: BinaryIO | str


class Uploads:
    """The files of a form, in a folder of their own that only this user may read, until it is closed."""

    def __init__(self, parts: Sequence[Part], modality: Modality, description: DataConfig) -> None:
        self._parts, self._modality, self._description = parts, modality, description
        self._folder = TemporaryDirectory(prefix="sensorium-", ignore_cleanup_errors=True)
        self.names: dict[str, str] = {}

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()

    def open(self) -> Unlabelled:
        """The examples in the files.

        A model of one signal takes every file as :func:`sensorium.predict` does. A model of several takes parts by the
        names of the signals: the first of each are one example, the second of each the next one; or files whose names
        differ in their endings alone.

        Raises:
            InputError: there are none, or a field that is no signal, or fewer of one signal than of another.
        """
        if not self._parts:
            raise InputError(f"there is nothing to answer; send files in parts called {FILE!r}")
        signals = {part.name: part for part in self._modality.modalities}
        fields = {part.field for part in self._parts}
        if fields == {FILE}:
            return open_strange_files(self._files(), self._modality, description=self._description)
        for field in fields - {FILE}:
            if field not in signals:
                raise InputError(f"no signal is called {field!r}; {did_you_mean(field, [*signals, FILE])}")
        if FILE in fields:
            raise InputError(f"a part is called {FILE!r}, others are called by signals; call all of them by signals")
        return open_signals(self._by_signal(signals), self._modality, description=self._description)

    def _files(self) -> list[Path]:
        """The files; those of one name but for the ending are called alike here, too."""
        stems: dict[str, int] = {}
        several = self._modality.modalities != (self._modality,)
        paths = []
        for number, part in enumerate(self._parts):
            stem = without_ending(Path(part.name)).name if several else str(number)
            paths.append(self._saved(part, str(stems.setdefault(stem, len(stems)))))
        return paths

    def _by_signal(self, signals: Mapping[str, Modality]) -> list[Any]:
        """For each example its signals by name; where the model has one, that signal."""
        columns: dict[str, list[Any]] = {}
        for number, part in enumerate(self._parts):
            if not isinstance(part.content, str):
                value: Any = self._saved(part, str(number))
            else:
                value = part.content if signals[part.field].kind in _WORDS else _json(part.content)
            columns.setdefault(part.field, []).append(value)
        counts = {name: len(values) for name, values in columns.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
            raise InputError(f"as many parts of each signal are needed, not {listed}; send the same number")
        examples = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        if self._modality.modalities == (self._modality,):
            return [example[self._modality.name] for example in examples]
        return examples

    def _saved(self, part: Part, stem: str) -> Path:
        """The file under a name of ours, with the ending that the client gave it."""
        suffix = ending(part.name)
        if not _SUFFIX.fullmatch(suffix):
            suffix = ""
        name = f"{stem}-idx3-ubyte" if suffix == ".idx" else f"{stem}{suffix}"
        path = Path(self._folder.name) / (f"{name}.gz" if part.name.lower().endswith(".gz") else name)
        if path.exists():
            raise InputError(f"{self.called(part)}: two files of one name; call the parts by the signals")
        with path.open("xb") as file:
            if isinstance(part.content, str):
                file.write(part.content.encode("utf-8", errors="replace"))
            else:
                shutil.copyfileobj(part.content, file)
        self.names[str(path)] = self.called(part)
        return path

    @staticmethod
    def called(part: Part) -> str:
        """What the client calls a file, without folders and what cannot be printed."""
        plain = re.split(r"[/\\]", part.name)[-1]
        return "".join(letter for letter in plain if letter.isprintable())[-_LONGEST_NAME:] or part.field

    def renamed(self, text: str) -> str:
        """A text with the client's names of files instead of ours."""
        for path, name in self.names.items():
            text = text.replace(path, name)
        return text.replace(f"{self._folder.name}/", "")


def open_json(body: bytes, modality: Modality, description: DataConfig) -> Unlabelled:
    """The examples in a JSON body, ``{"examples": […]}``.

    Raises:
        InputError: it is no such JSON.
    """
    content = _json(body)
    examples = content.get("examples") if isinstance(content, dict) else None
    if not isinstance(examples, list):
        raise InputError('the body is {"examples": [...]}, with a list')
    return open_signals(examples, modality, description=description)


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is no JSON ({error})") from None
