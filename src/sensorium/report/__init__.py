"""What a model is worth, in numbers (``report.json``) and on one page (``report.html``)."""

from .evaluation import Evaluation, Samples, evaluate, explain, explain_reads
from .page import write_report
from .summary import wilson

__all__ = ["Evaluation", "Samples", "evaluate", "explain", "explain_reads", "wilson", "write_report"]
