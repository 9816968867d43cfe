"""Train on a Ray cluster: ``python ray_train.py DATA RUN --workers 8``; needs ``pip install 'ray[train]'``.

Ray starts the processes and joins them; sensorium finds that they are there, as it does under torchrun. DATA and RUN
lie in a folder that all nodes see.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def train(settings: dict[str, Any]) -> None:
    """What each worker does."""
    import sensorium as sm

    run = Path(settings["run"])
    try:
        sm.train(settings["data"], out=run, resume=(run / "checkpoints").exists())
    except SystemExit as end:  # of every worker but the first, when the training is done
        if end.code:
            raise RuntimeError("the first worker says what went wrong") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="workers without GPUs")
    options = parser.parse_args()

    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(
        train,
        train_loop_config={"data": str(Path(options.data).resolve()), "run": str(Path(options.run).resolve())},
        scaling_config=ScalingConfig(num_workers=options.workers, use_gpu=not options.cpu),
        run_config=RunConfig(name="sensorium"),
    )
    trainer.fit()


if __name__ == "__main__":
    main()
