"""What a model is worth, in numbers (``report.json``) and on one page (``report.html``)."""

from .page import write_report
from .summary import wilson

__all__ = ["wilson", "write_report"]
