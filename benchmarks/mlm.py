"""Masked language modelling of English bytes beside a 5-gram: accuracy and bits per hidden byte.

``python benchmarks/mlm.py TRAIN.txt [MORE.txt ...] --test TEST.txt [--minutes 15] [--attention default]``

The model and its recipe are ``auto``'s. Files are text; of a Parquet file it is the column ``text``. The model sees
about as much of each file: shorter ones come several times in an epoch. The 5-gram counts the same training bytes, once
each, and predicts from left to right: once it knows all hidden bytes before the one that it predicts
(which the model does not), and once it uses its own predictions of them. The figures are written to ``figures.json``
in the run folder.
"""

from __future__ import annotations

import argparse
import json
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
TESTED = 2000  # passages at most, by the 5-gram


class NGram:
    """The probability of a byte after the bytes before it: counts of each order, smoothed by the next shorter one's
    (Witten and Bell)."""

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
            counts = self.counts[order].get(context[len(context) - order :])
            if counts is None:
                break
            total, kinds = sum(counts.values()), len(counts)
            shares = shares * kinds / (total + kinds)
            for byte, count in counts.items():
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


def windows(*texts: bytes, length: int = LENGTH) -> Examples:
    """Passages of ``length`` bytes, one every LENGTH bytes; those of shorter texts several times."""
    longest = max(map(len, texts))
    passages = [
        text[start : start + length]
        for text in texts
        for _ in range(round(longest / max(1, len(text))))
        for start in range(0, len(text) - LENGTH + 1, LENGTH)
    ]
    return Examples({"text": passages}, None, [f"byte {index * LENGTH}" for index in range(len(passages))])


def baseline(gram: NGram, batch: dict[str, torch.Tensor], *, knows_hidden: bool) -> tuple[int, float, int]:
    """Right predictions, bits and the number of hidden bytes, of a batch whose hidden bytes are MASK."""
    right, bits, count = 0, 0.0, 0
    for view, target in zip(batch["view"].tolist(), batch["target"].tolist(), strict=True):
        before = bytearray()
        for number, true_number in zip(view, target, strict=True):
            if number != MASK or true_number == IGNORED:
                before.append(max(0, number - SPECIALS))
                continue
            shares = gram.after(bytes(before[-ORDER + 1 :]))
            guess, true = int(shares.argmax()), true_number - SPECIALS
            right, bits, count = right + (guess == true), bits - log2(shares[true]), count + 1
            before.append(true if knows_hidden else guess)
    return right, bits, count


def main() -> None:
    """Train, evaluate, count, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path, nargs="+")
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--attention", choices=("aligned", "default"), default="aligned", help="where it starts")
    parser.add_argument("--out", type=Path, default=Path("runs/mlm"))
    options = parser.parse_args()
    texts = [words([file]) for file in options.train]
    # Training begins anywhere in a passage of twice the length, as it does in texts that are longer than the model's.
    text, cuts = b"\n\n".join(texts), windows(*texts, length=2 * LENGTH)
    different = sum(len(windows(each)) for each in texts)
    facts = Facts(task="mlm", examples=different, minutes=options.minutes)
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
    prepared = [best.prepare(test.batch([index])) for index in chosen]
    batch = {
        "view": torch.cat([example.inputs["text"] for example in prepared]),
        "target": torch.cat([example.targets for example in prepared]),
    }
    result = evaluate_model(best, test, split="test")
    gram = NGram(text)
    print(f"\n{seconds / 60:.1f} minutes; {len(test):,} test passages, the 5-gram on {len(chosen):,} of them\n")
    print("| what | accuracy of hidden bytes | bits a hidden byte |")
    print("|---|---:|---:|")
    print(f"| the model | **{result.metrics['accuracy']:.1%}** | {result.metrics['bits_per_byte']:.2f} |")
    grams = []
    for knows_hidden, name in (
        (True, "which knows the hidden bytes before"),
        (False, "which predicts them itself"),
    ):
        right, bits, count = baseline(gram, batch, knows_hidden=knows_hidden)
        grams.append({"name": f"a {ORDER}-gram, {name}", "accuracy": right / count, "bits": bits / count})
        print(f"| a {ORDER}-gram, {name} | {right / count:.1%} | {bits / count:.2f} |")
    figures = {
        "parameters": model.parameter_count(),
        "seconds": seconds,
        "passages": len(test),
        "accuracy": result.metrics["accuracy"],
        "bits": result.metrics["bits_per_byte"],
        "grams": grams,
    }
    (options.out / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
