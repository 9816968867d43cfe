"""What an evaluation found: the numbers in ``report.json``, one page to look at in ``report.html``, a model card."""

from .card import write_card
from .page import write_report

__all__ = ["write_card", "write_report"]
