"""How a benchmark's training goes, line by line."""

from __future__ import annotations

from sensorium.training.progress import Quiet


class Tell(Quiet):
    """A line now and then, so that a log stays short."""

    told = 0.0

    def stage(self, text: str) -> None:
        self.told = 0.0
        print(text, flush=True)

    def progress(self, share: float, figures: dict[str, float]) -> None:
        if share >= self.told:
            self.told = share + 0.05
            print(f"{share:.0%}", *(f"{name} {value:.3f}" for name, value in figures.items()), flush=True)
