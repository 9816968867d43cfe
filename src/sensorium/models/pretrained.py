"""A model in a folder of its own, and on the Hugging Face hub."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

from torch import nn

from ..errors import InputError
from ..files import replace_file
from .weights import CONFIG, WEIGHTS, read_model, write_model

CARD, PICTURE = "README.md", "report.png"  # the model card, and the picture in it
FILES = (WEIGHTS, CONFIG, CARD, PICTURE)  # of a model on the hub

PLAIN_CARD = """---
library_name: sensorium
tags: [sensorium, perceiver]
---

# A {inputs} model of sensorium

{parameters:,} parameters; task: {task}. It was saved without a report, so nothing is known here of its data and scores.

```python
import sensorium as sm

model = sm.Perceiver.from_pretrained("NAME")  # of this model on the hub, or a folder
answers = sm.predict(model, "file")
```
"""


class Pretrained(nn.Module):
    """What a model can do with folders and with the hub: ``config.json``, ``model.safetensors`` and a model card, as in
    a run folder.

    Attributes:
        config: of the model.
        config_type: its record.
        folder: that the model was loaded from, whose card and picture go with it; None: it is new.
    """

    config: Any
    config_type: ClassVar[type]
    folder: Path | None = None

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """The model in a run folder or weights folder, in evaluation mode.

        Raises:
            InputError: there is no model, it is damaged, or it was written by an older or a newer version.
        """
        model = read_model(folder, cls, cls.config_type)
        model.folder = folder
        return model

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, token: str | None = None) -> Self:
        """The model in a folder, or of a name on the Hugging Face hub, in evaluation mode.

        Args:
            name: a run folder, a weights folder, or a name such as ``me/birds``.
            revision: a branch, tag or commit on the hub; None: the newest.
            token: of the hub, for private models; None: the one that the machine is logged in with.

        Raises:
            InputError: no such folder or name, the extra ``hub`` is not installed, or no model is there.
        """
        if Path(name).exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
            return cls.from_folder(Path(name))
        hub = _hub(f"{name}: no such folder, and names on the hub need the extra")
        try:
            folder = hub.snapshot_download(str(name), revision=revision, token=token, allow_patterns=list(FILES))
        except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
            raise InputError(
                f"{name}: no such folder, and not to be had from the hub ({type(error).__name__}); check the name"
            ) from None
        return cls.from_folder(Path(folder))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model to a folder that :meth:`from_pretrained` reads, with its model card: that of the run that it
        was loaded from, or one that says what it is and how it is loaded.

        Args:
            folder: made where there is none.

        Raises:
            InputError: it cannot be written to.
        """
        folder = Path(folder)
        write_model(self, folder)
        carried = [] if self.folder is None else [self.folder / name for name in (CARD, PICTURE)]
        carried = [path for path in carried if path.is_file() and path.resolve() != (folder / path.name).resolve()]
        for path in carried:
            replace_file(folder / path.name, lambda to, path=path: shutil.copyfile(path, to))  # type: ignore[misc]
        if not (folder / CARD).exists():
            text = PLAIN_CARD.format(
                inputs=self.config.inputs.kind,
                task=self.config.task.kind,
                parameters=sum(parameter.numel() for parameter in self.parameters()),
            )
            replace_file(folder / CARD, lambda to: to.write_text(text, encoding="utf-8"))

    def push_to_hub(self, name: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Upload the model with its model card to the Hugging Face hub.

        Args:
            name: such as ``me/birds``; the repository is made where there is none.
            private: whether a new repository is; None: as the account has it.
            token: of the hub; None: the one that the machine is logged in with.

        Returns:
            the address of the upload.

        Raises:
            InputError: the extra ``hub`` is not installed, or the hub refuses.
        """
        hub = _hub("uploading needs the extra")
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            try:
                api = hub.HfApi(token=token)
                api.create_repo(name, private=private, exist_ok=True)
                uploaded = api.upload_folder(
                    repo_id=name, folder_path=folder, commit_message="Upload a sensorium model"
                )
            except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
                first_line = str(error).strip().partition("\n")[0]
                raise InputError(
                    f"{name}: the hub refuses the upload ({first_line}); log in with hf auth login"
                ) from None
        return str(uploaded)


def _hub(wanted: str) -> Any:
    """The library of the Hugging Face hub.

    Args:
        wanted: what for, up to "the extra".

    Raises:
        InputError: it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise InputError(f"{wanted}: pip install 'sensorium[hub]'") from None
    return huggingface_hub
