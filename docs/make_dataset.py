"""Makes docs/dataset.md from the records of a data set's description: ``python docs/make_dataset.py``."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

from sensorium.data.description import DataConfig, InputConfig, TargetConfig

PAGE = Path(__file__).resolve().parent / "dataset.md"

HEAD = """# dataset.yaml

What cannot be guessed about a data set is said in a file called `dataset.yaml`, in the folder of the data or beside the
file, or in one that `--dataset` names. All of it may be left out; what is left out is recognised. `sensorium inspect
DATA` prints the description that it inferred, which is the best start. This page is made from the records in
`src/sensorium/data/description.py` by `python docs/make_dataset.py`.

```yaml
layout: table
inputs:
  photo: {kind: image, column: file}      # a column of paths
  facts: {kind: table, column: [age, weight]}
target: {column: species, task: classify}
group: animal                             # all pictures of one animal stay in one split
splits: {train: train.csv, test: test.csv}
```

A key that does not exist, or a value of the wrong kind, is refused with the name of the file, the key and the likeliest
right one.
"""

SECTIONS: tuple[tuple[str, type[Any], str], ...] = (
    ("The data set", DataConfig, ""),
    ("`inputs.NAME`", InputConfig, "One entry for each signal of an example; the name is free.\n\n"),
    ("`target`", TargetConfig, ""),
)


def page() -> str:
    """The text of the page."""
    return HEAD + "".join(f"\n## {title}\n\n{intro}{_table(kind)}" for title, kind, intro in SECTIONS)


def _table(kind: type[Any]) -> str:
    meanings = _attributes(kind)
    rows = "".join(f"| `{field.name}` | {meanings[field.name]} |\n" for field in dataclasses.fields(kind))
    return f"| key | what it says |\n|---|---|\n{rows}"


def _attributes(kind: type[Any]) -> dict[str, str]:
    """The meaning of each attribute in a docstring, in which "a, b: …" is of both."""
    text = inspect.cleandoc(kind.__doc__ or "").split("Attributes:\n", 1)[1].split("\n\n", 1)[0]
    text = re.sub(r"``([^`]*)``", r"`\1`", inspect.cleandoc(text))
    entries = re.findall(r"^(\w[\w, ]*): ((?:.*\n?)(?:^ +.*\n?)*)", text, flags=re.M)
    return {name: " ".join(meaning.split()) for names, meaning in entries for name in names.split(", ")}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
