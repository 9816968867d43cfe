"""Hidden words of English, filled in byte by byte, against a 5-gram: accuracy and bits a byte.

``python benchmarks/fill.py TRAIN.txt [MORE.txt ...] --test TEST.txt [--minutes 15] [--attention even]``

The model and its recipe are ``auto``'s. Files are text; of a Parquet file it is the column ``text``. The 5-gram counts
the same training bytes; it reads from left to right, once told every byte before a hidden one (which the model is not),
and once with its own guesses there.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from dataclasses import replace
from math import log2
from pathlib import Path

import numpy as np
import torch

from sensorium.data import Examples, load_samples
from sensorium.inference.evaluate import evaluate_model
from sensorium.modalities import TextConfig
from sensorium.modalities.text import MASK, SPECIALS
from sensorium.models import checkpoints
from sensorium.models.auto import Auto, Facts
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.tasks import IGNORED
from sensorium.training.loop import fit
from sensorium.training.plan import RunConfig
from telling import Tell

LENGTH = 256
ORDER = 5
TESTED = 2000  # windows at most


class NGram:
    """Bytes after the bytes before them: each order's counts, falling back on the shorter one's (Witten and Bell)."""

    def __init__(self, text: bytes) -> None:
        self.counts: list[dict[bytes, Counter[int]]] = []
        for order in range(ORDER):
            table: dict[bytes, Counter[int]] = defaultdict(Counter)
            values = np.frombuffer(text, np.uint8)
            windows = np.lib.stride_tricks.sliding_window_view(values, order + 1)
            keys = windows.astype(np.uint64) @ (np.uint64(256) ** np.arange(order + 1, dtype=np.uint64)[::-1])
            distinct, counts = np.unique(keys, return_counts=True)
            for key, count in zip(distinct.tolist(), counts.tolist(), strict=True):
                whole = key.to_bytes(order + 1, "big")
                table[whole[:-1]][whole[-1]] = count
            self.counts.append(dict(table))

    def after(self, context: bytes) -> np.ndarray:
        """The probability of each byte after ``context`` (256,)."""
        shares = np.full(256, 1 / 256)
        for order in range(min(len(context), ORDER - 1) + 1):
            seen = self.counts[order].get(context[len(context) - order :])
            if seen is None:
                break
            total, kinds = sum(seen.values()), len(seen)
            shares = shares * kinds / (total + kinds)
            for byte, count in seen.items():
                shares[byte] += count / (total + kinds)
        return shares


def words(files: list[Path]) -> bytes:
    """The text of files, one after the other."""
    texts = []
    for file in files:
        if file.suffix == ".parquet":
            import pyarrow.parquet as parquet

            texts += [str(text).encode() for text in parquet.read_table(file)["text"].to_pylist()]
        else:
            texts.append(file.read_bytes())
    return b"\n\n".join(texts)


def windows(text: bytes) -> Examples:
    """Passages of LENGTH bytes, one after the other."""
    cuts = [text[place : place + LENGTH] for place in range(0, len(text) - LENGTH + 1, LENGTH)]
    return Examples({"text": cuts}, None, [f"byte {place * LENGTH}" for place in range(len(cuts))])


def baseline(gram: NGram, batch: dict[str, torch.Tensor], *, told: bool) -> tuple[int, float, int]:
    """Right guesses, bits and hidden bytes of a batch whose hidden bytes are MASK."""
    right, bits, count = 0, 0.0, 0
    for view, target in zip(batch["view"].tolist(), batch["target"].tolist(), strict=True):
        before = bytearray()
        for number, wanted in zip(view, target, strict=True):
            if number != MASK or wanted == IGNORED:
                before.append(max(0, number - SPECIALS))
                continue
            shares = gram.after(bytes(before[-ORDER + 1 :]))
            guess, true = int(shares.argmax()), wanted - SPECIALS
            right, bits, count = right + (guess == true), bits - log2(shares[true]), count + 1
            before.append(true if told else guess)
    return right, bits, count


def main() -> None:
    """Train, evaluate, count, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path, nargs="+")
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--attention", choices=("aligned", "default"), default="aligned", help="where it starts")
    parser.add_argument("--out", type=Path, default=Path("runs/fill"))
    options = parser.parse_args()
    text = words(options.train)
    cuts = windows(text)
    facts = Facts(task="mlm", examples=len(cuts), minutes=options.minutes)
    choice = Auto().choose(TextConfig(length=LENGTH), facts)
    assert choice.task is not None
    model_config = PerceiverConfig(
        inputs=choice.inputs, encoder=choice.encoder, decoder=choice.decoder, task=choice.task
    )
    recipe = replace(choice.recipe, epochs=None, attention_init=options.attention)
    torch.manual_seed(0)
    model = Perceiver(model_config)
    print(f"{model.parameter_count():,} parameters; {len(text):,} bytes of training text", flush=True)
    train, test = (load_samples(each, [model.inputs]) for each in (cuts, windows(words([options.test]))))
    config = RunConfig(model=model_config, recipe=recipe)
    seconds = fit(model, train, None, config=config, folder=options.out, listener=Tell())
    best = checkpoints.load(options.out)
    chosen = list(range(0, len(test), max(1, len(test) // TESTED)))[:TESTED]
    asked = [best.prepare(test.batch([place])) for place in chosen]
    batch = {
        "view": torch.cat([prepared.inputs["text"] for prepared in asked]),
        "target": torch.cat([prepared.targets for prepared in asked]),
    }
    result = evaluate_model(best, test, split="test")
    gram = NGram(text)
    print(f"\n{seconds / 60:.1f} minutes; {len(test):,} test passages, the 5-gram on {len(chosen):,} of them\n")
    print("| what | accuracy of hidden bytes | bits a hidden byte |")
    print("|---|---:|---:|")
    print(f"| the model | **{result.metrics['accuracy']:.1%}** | {result.metrics['bits_per_byte']:.2f} |")
    for told, name in (
        (True, "told the hidden bytes before"),
        (False, "with its own guesses there"),
    ):
        right, bits, count = baseline(gram, batch, told=told)
        print(f"| a {ORDER}-gram, {name} | {right / count:.1%} | {bits / count:.2f} |")


if __name__ == "__main__":
    main()
