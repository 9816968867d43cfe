"""The command that takes a run elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .program import command


@command(
    10,
    "sensorium export runs/birds --data data/birds",
    "sensorium export runs/birds --format pt2 --out birds.pt2",
    "sensorium export runs/birds --data data/birds --int8",
)
def export(
    run: Path,
    /,
    *,
    out: Path | None = None,
    format: Literal["onnx", "pt2"] = "onnx",
    data: Path | None = None,
    int8: bool = False,
) -> None:
    """Write a trained run as a program that runs without sensorium: for onnxruntime, or for torch. The file is kept
    only if its answers agree with the model's.

    Args:
        run: Run folder.
        out: File; RUN/model.onnx or RUN/model.pt2 by default.
        format: onnx, or pt2, which torch.export.load reads.
        data: What the run was trained on, or other data of its kind; the file is checked on its examples. By default on
            examples of noise.
        int8: Write a file with weights of 8 bits beside it, too, and with --data measure what that costs.
    """
    from ..training import run_export
    from .display import Display

    with Display() as listener:
        result = run_export.export(run, out=out, format=format, data=data, int8=int8, listener=listener)
    program, quantised = result.program, result.quantised
    print(f"{program.file}: agrees with the model to {program.difference:.1e}; checked on {result.checked_on}")
    if quantised is None:
        return
    cost = "what 8 bits cost is not measured: there are no labelled examples"
    if quantised.before is not None and quantised.after is not None:
        scores = f"{quantised.metric} {quantised.after:.3f} instead of {quantised.before:.3f}"
        cost = f"{scores} ({quantised.samples:,} examples)"
    print(f"{quantised.file}: {cost}")
