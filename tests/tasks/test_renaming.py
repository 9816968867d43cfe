"""Words that a text repeats get other letters."""

from __future__ import annotations

import re
from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.tasks.renaming import SHORTEST, rename_words

LETTERS = st.text(alphabet="aeixzAEXZ .:'é", max_size=60)


def renamed(text: str, share: float, seed: int) -> bytes:
    rows = torch.tensor([list(text.encode())], dtype=torch.int64)
    return bytes(rename_words(rows, share, torch.Generator().manual_seed(seed))[0].tolist())


def words(text: bytes) -> list[bytes]:
    return re.findall(rb"[A-Za-z]+", text)


@given(LETTERS, st.integers(0, 99), st.sampled_from([0.5, 1.0]))
def test_only_letters_of_repeated_words_change(text: str, seed: int, share: float) -> None:
    """Alike wherever the word stands, vowels to vowels, capitals to capitals."""
    before, after = text.encode(), renamed(text, share, seed)
    shape = [(rb"[aeiou]", b"v"), (rb"[AEIOU]", b"V"), (rb"[b-df-hj-np-tv-z]", b"c"), (rb"[B-DF-HJ-NP-TV-Z]", b"C")]
    shapes = [before, after]
    for letters, kind in shape:
        shapes = [re.sub(letters, b"\0" + kind, each) for each in shapes]
    assert shapes[0] == shapes[1]
    counts = Counter(word.lower() for word in words(before))
    names: dict[bytes, bytes] = {}
    for old, new in zip(words(before), words(after), strict=True):
        assert names.setdefault(old.lower(), new.lower()) == new.lower()
        if counts[old.lower()] == 1 or len(old) < SHORTEST:
            assert new == old
    assert len(set(names.values())) == len(names) or share < 1.0 or any(count == 1 for count in counts.values())


def test_all_of_them_or_none_or_some() -> None:
    text = " ".join(f"{word} {word}" for word in ("romeo", "juliet", "tybalt", "benvolio", "mercutio"))
    pairs = [words(renamed(text, 0.5, seed)) for seed in range(40)]
    assert all(one == other for each in pairs for one, other in zip(each[::2], each[1::2], strict=True))
    kept = sum(each[::2].count(word) for each in pairs for word in words(text.encode())[::2])
    assert 70 < kept < 130, "about half of 200"
    assert renamed(text, 0.0, 0) == text.encode()
    assert not set(words(renamed(text, 1.0, 0))) & set(words(text.encode()))


def test_texts_have_letters_of_their_own_and_what_is_no_byte_stays() -> None:
    row = [*list(b"juliet juliet "), -3, -6, 300]
    first, second = rename_words(torch.tensor([row, row]), 1.0, torch.Generator().manual_seed(0)).tolist()
    assert first != second
    assert first[-3:] == second[-3:] == [-3, -6, 300]
