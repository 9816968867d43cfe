"""Words of a text that repeats them, under other names.

A text says *Juliet* again and again, and what a model reads elsewhere in it tells which name a gap holds. A model that
is trained on few texts learns their names by heart instead. So in training names get other letters, alike wherever they
stand, and only the rest of the text says what they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..modalities.sequences import uniform

SHORTEST = 4  # letters of a word that is renamed: shorter ones are the grammar of a language
VOWELS, CONSONANTS = (torch.tensor(list(letters)) for letters in (b"aeiou", b"bcdfghjklmnpqrstvwxyz"))
CASE = ord("a") - ord("A")
FACTOR = 1_000_003  # of a polynomial over the letters of a word, modulo 2⁶⁴, that tells words apart


def rename_words(text: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The same texts, in which words that a text repeats have other letters.

    A word is a run of ASCII letters of at least ``SHORTEST``, in capitals or not. Those of one text that are renamed
    exchange their letters alike, vowels for vowels and consonants for consonants, and keep their capitals.

    Args:
        text: batch × bytes, integers: bytes, or anything outside 0 to 255 for what is none.
        share: of the words that stand in a text more than once, the share that is renamed.
        generator: of which, and of the letters.

    >>> said = torch.tensor(list(b"ROMEO: I. JULIET: Romeo, Romeo, wherefore"))[None]
    >>> bytes(rename_words(said, 1.0, torch.Generator().manual_seed(0))[0].tolist())
    b'RESIE: I. JULIET: Resie, Resie, wherefore'
    """
    lower = torch.where((text >= ord("A")) & (text <= ord("Z")), text + CASE, text).long()
    is_letter = (lower >= ord("a")) & (lower <= ord("z"))
    first_letter = is_letter & ~F.pad(is_letter, (1, 0))[:, :-1]
    word_of_byte = first_letter.cumsum(1) * is_letter  # counted from 1; 0: in no word
    repeated = _repeated_words(lower, word_of_byte, first_letter, share, generator)
    renamed = repeated.gather(1, word_of_byte)
    letters = _other_letters(text, generator).gather(1, (lower - ord("a")).clamp(0, 25))
    return torch.where(renamed, letters - CASE * (lower != text), text).to(text.dtype)


def _repeated_words(
    lower: Tensor, word_of_byte: Tensor, first_letter: Tensor, share: float, generator: torch.Generator
) -> Tensor:
    """Which words are renamed: bool, batch × (words + 1), where number 0 is no word and is not."""
    batch, count = lower.shape
    words = (count + 1) // 2 + 1
    position = torch.arange(count, device=lower.device)
    start = torch.where(first_letter, position, 0).cummax(1).values
    powers = torch.tensor(FACTOR, device=lower.device) ** (position - start)
    none = lower.new_zeros(batch, words)
    numbers = none.scatter_add(1, word_of_byte, lower * powers)
    long_enough = none.scatter_add(1, word_of_byte, torch.ones_like(lower)) >= SHORTEST
    long_enough[:, 0] = False
    # Words are those that are alike beside each other in this order; what is too short is alike to nothing.
    order = numbers.where(long_enough, -1 - torch.arange(words, device=lower.device)).argsort(1)
    ordered, counts = numbers.gather(1, order), long_enough.gather(1, order)
    like_last = F.pad((ordered[:, 1:] == ordered[:, :-1]) & counts[:, 1:] & counts[:, :-1], (1, 0))
    repeated = like_last | F.pad(like_last[:, 1:], (0, 1))
    draws = uniform(lower, (batch, words), 0, 1, generator).gather(1, (~like_last).cumsum(1) - 1)
    return torch.zeros_like(repeated).scatter(1, order, repeated & (draws < share))


def _other_letters(text: Tensor, generator: torch.Generator) -> Tensor:
    """What each letter from a to z becomes in each text: batch × 26."""
    letters = torch.empty(len(text), 26, dtype=torch.int64, device=text.device)
    for each in (VOWELS, CONSONANTS):
        kind = each.to(text.device)
        order = uniform(text, (len(text), len(kind)), 0, 1, generator).argsort(1)
        letters[:, kind - ord("a")] = kind[order]
    return letters
