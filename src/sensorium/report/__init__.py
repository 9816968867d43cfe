"""What a model is worth, in numbers (``report.json``) and on one page (``report.html``)."""

from .evaluation import (
    Evaluation,
    Samples,
    evaluate,
    explain,
    explain_reads,
    flows,
    reconstructed,
    reconstruction,
    shares,
)
from .page import write_report
from .summary import wilson

__all__ = [
    "Evaluation",
    "Samples",
    "evaluate",
    "explain",
    "explain_reads",
    "flows",
    "reconstructed",
    "reconstruction",
    "shares",
    "wilson",
    "write_report",
]
