"""How a run tells how far it is: the listener it reports to, and the exception that ends an interrupted run."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from .plan import Plan


class Listener(Protocol):
    """Receives the progress of a run; the command line draws it."""

    def stage(self, text: str) -> None:
        """A new stage begins; ``text`` says what is done in it."""

    def progress(self, share: float, figures: dict[str, float]) -> None:
        """``share`` (0 to 1) of the stage is done; ``figures`` are the latest ones by name."""

    def planned(self, planned: Plan) -> None:
        """The data is recognised: what is in it, what was assumed of it, and what is trained."""


class Quiet:
    """A listener that does nothing."""

    def stage(self, text: str) -> None: ...

    def progress(self, share: float, figures: dict[str, float]) -> None: ...

    def planned(self, planned: Plan) -> None: ...


class Interrupted(Exception):
    """The run was stopped by Ctrl-C or SIGTERM and saved; it can be resumed in the folder ``out``."""

    def __init__(self, out: Path) -> None:
        super().__init__(str(out))
        self.out = out
