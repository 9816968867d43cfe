"""What an evaluation found: the numbers in ``report.json``, one page to look at in ``report.html``."""

from .page import write_report

__all__ = ["write_report"]
