"""Which stems ``auto`` chooses: they fit every size of signal, and leaving them out gives the plain Perceiver."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.modalities import (
    KINDS,
    AudioConfig,
    FusionConfig,
    ImageConfig,
    SeriesConfig,
    TextConfig,
    VideoConfig,
    VolumeConfig,
)
from sensorium.models.auto import Auto, Facts, choose_inputs
from sensorium.models.auto.stems import STEMS
from sensorium.models.perceiver import PerceiverConfig
from sensorium.nn import DecoderConfig
from sensorium.nn.stems import GridStemConfig, NGramStemConfig
from sensorium.tasks.classify import ClassifyConfig
from sensorium.tasks.mlm import MLMConfig

CLASSIFY = Facts(task="classify", examples=1000)


def picture(side: int) -> ImageConfig:
    return ImageConfig(size=(side, side), mean=(0.5,), std=(0.5,), channels=1)


def series(length: int) -> SeriesConfig:
    return SeriesConfig(channels=1, length=length, mean=(0.0,), std=(1.0,))


@given(side=st.integers(1, 300))
def test_pictures_of_any_size_have_a_stem_of_8_to_15_rows_a_side(side: int) -> None:
    chosen = choose_inputs(picture(side), CLASSIFY)
    assert chosen.size[0] <= side
    assert min(side, 8) <= chosen.grid(chosen.size)[0] <= 15
    plain = choose_inputs(picture(side), replace(CLASSIFY, stems=False))
    assert plain.stem is None
    assert plain.num_rows <= 256
    assert plain.size == chosen.size


@given(length=st.integers(1, 20_000))
def test_series_of_any_length_have_at_most_256_rows(length: int) -> None:
    chosen = choose_inputs(series(length), CLASSIFY)
    assert 1 <= chosen.num_rows <= 256
    assert chosen.num_rows >= min(length, 32)


@given(sides=st.tuples(*[st.integers(1, 64)] * 3))
def test_strides_divide_volumes_of_any_size(sides: tuple[int, int, int]) -> None:
    stem = STEMS["volume"](VolumeConfig(size=sides))
    assert all(side % stride == 0 for side, stride in zip(sides, stem.patch, strict=True))


@given(frames=st.integers(1, 96), side=st.integers(1, 112))
@settings(deadline=None)
def test_clips_of_any_size_become_rows(frames: int, side: int) -> None:
    chosen = choose_inputs(VideoConfig(frames=frames, size=(side, side), patch=(1, 1, 1)), CLASSIFY)
    assert chosen.grid[1:] == (1, 1)  # a row for each moment
    assert min(frames, 16) <= chosen.num_rows <= 32
    assert prod(chosen.grid) == chosen.num_rows


@given(samples=st.integers(1, 240_000))
def test_sound_of_any_length_has_four_rows_of_mels_or_more(samples: int) -> None:
    chosen = choose_inputs(AudioConfig(samples=samples), CLASSIFY)
    assert chosen.grid[1] == 4
    assert chosen.grid[0] <= 48


def test_raw_sound_has_no_stem() -> None:
    assert choose_inputs(AudioConfig(representation="raw", patch=(128, 1)), CLASSIFY).stem is None


def test_what_predicts_rows_has_no_stem_on_a_grid() -> None:
    """It would be trained to predict what is hidden from rows of another size than those that were tuned."""
    assert choose_inputs(picture(32), Facts(task="reconstruct", examples=1000)).stem is None


def test_masked_words_have_n_grams_and_convolutions() -> None:
    facts = Facts(task="mlm", examples=1000)
    chosen = choose_inputs(TextConfig(), facts)
    assert isinstance(chosen.stem, NGramStemConfig)
    assert chosen.stem.dilations


@pytest.mark.parametrize("minutes", [1.0, 20.0])
def test_names_are_read_where_few_passages_would_be_learned_by_heart(minutes: float) -> None:
    """In a minute, 10,000 passages come once or twice; in twenty, often."""
    chosen = Auto().choose(TextConfig(length=256), Facts(task="mlm", examples=10_000, minutes=minutes))
    assert isinstance(chosen.inputs, TextConfig)
    assert isinstance(chosen.inputs.stem, NGramStemConfig)
    assert isinstance(chosen.task, MLMConfig)
    learned_by_heart = minutes == 20
    assert chosen.task.pointer
    assert (chosen.task.renamed > 0) == learned_by_heart
    assert (chosen.inputs.stem.dropout > 0) == learned_by_heart


@pytest.mark.parametrize(("length", "dropped"), [(90, 0.75), (511, 0.75), (512, 0.875), (8192, 0.875)])
def test_text_behind_a_stem_is_read_as_a_whole(length: int, dropped: float) -> None:
    """Most of its bytes are left out in training, so that words are missing; a plain Perceiver reads 2,048 of them."""
    chosen = Auto().choose(TextConfig(length=length), CLASSIFY)
    assert (chosen.inputs.length, chosen.recipe.drop_rows) == (length, dropped)
    assert chosen.encoder.num_layers == 1
    plain = Auto().choose(TextConfig(length=length), replace(CLASSIFY, stems=False))
    assert plain.encoder.num_layers > 1
    assert (plain.inputs.length, plain.recipe.drop_rows) == (min(2048, length), 0)


def test_rows_are_left_out_of_the_inputs_that_a_model_starts_with() -> None:
    """A language model without a stem, whose bytes say little alone, is not fine-tuned on an eighth of them."""
    choice = Auto().choose(TextConfig(length=8192), replace(CLASSIFY, stems=False))
    start = PerceiverConfig(
        inputs=choice.inputs, encoder=choice.encoder, decoder=None, task=ClassifyConfig(classes=("a", "b"))
    )
    chosen = Auto().choose(TextConfig(length=8192), CLASSIFY, start=start)
    assert chosen.inputs == choice.inputs
    assert chosen.recipe.drop_rows == 0


def test_text_beside_other_signals_has_fewer_bytes() -> None:
    """No rows of several signals are left out, so all of its bytes are rows of a step."""
    both = FusionConfig(modalities={"text": TextConfig(length=8192), "photo": picture(32)})
    chosen = Auto().choose(both, CLASSIFY)
    assert chosen.inputs.modalities["text"].length == 2048
    assert chosen.recipe.drop_rows == 0


@pytest.mark.parametrize(("examples", "length", "dropout"), [(2499, 256, 0.1), (2500, 256, 0.0), (2499, 2048, 0.0)])
def test_channels_are_dropped_of_few_words(examples: int, length: int, dropout: float) -> None:
    """Few passages of 256 bytes for the time, however long the texts are."""
    chosen = choose_inputs(TextConfig(length=length), Facts(task="mlm", examples=examples, minutes=1.0))
    assert chosen.stem.dropout == dropout


def test_tables_are_varied_more_where_there_are_fewer_lines() -> None:
    """And end after twenty epochs, however many lines there are."""
    table = KINDS["table"].measure([[1.0], [2.0]])
    few, many = (Auto().choose(table, replace(CLASSIFY, examples=count)) for count in (300, 3000))
    assert few.inputs.jitter > many.inputs.jitter > 0
    assert few.inputs.blank > many.inputs.blank > 0
    assert few.recipe.epochs == many.recipe.epochs == 20
    plain = choose_inputs(table, replace(CLASSIFY, stems=False))
    assert plain == table
    assert choose_inputs(table, replace(CLASSIFY, task="reconstruct")) == table


def test_the_model_behind_a_stem_is_smaller() -> None:
    def parameters(facts: Facts) -> Any:
        encoder = Auto().choose(picture(32), facts).encoder
        return encoder.num_latents * encoder.latent_channels**2 * encoder.num_layers

    large = replace(CLASSIFY, examples=50_000, minutes=100.0)
    assert parameters(large) < parameters(replace(large, stems=False))


def test_latents_of_video_alone_start_as_moments() -> None:
    """Not without its stem, and not where one answer is asked for every row."""
    video = VideoConfig(frames=24, size=(32, 32), patch=(1, 1, 1))
    choice = Auto().choose(video, CLASSIFY)
    assert (choice.decoder, choice.recipe.attention_init) == ("linear", "aligned")
    plain = Auto().choose(video, replace(CLASSIFY, stems=False))
    assert (plain.decoder, plain.recipe.attention_init) == (None, "default")
    assert isinstance(Auto().choose(video, replace(CLASSIFY, task="reconstruct")).decoder, DecoderConfig)


def test_the_chosen_stem_runs() -> None:
    chosen = choose_inputs(series(100), CLASSIFY)
    assert isinstance(chosen.stem, GridStemConfig)
    rows = KINDS["series"](chosen).embed({"series": torch.from_numpy(np.zeros((2, 100, 1), np.float32))})
    assert rows.num_rows == chosen.num_rows
