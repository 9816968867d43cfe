"""``auto``: sizes, positions, augmentation and schedule from the shape and amount of data and the time given.

The rules, all of them:

============= ================================================================================================
stems         a small local network before the rows of every signal on a grid, of text and of points (stems.py),
              where the task has one answer for each example, and for masked words and flow
rows          without a stem, a patch is as small as leaves at most 256 rows of a picture, 64 of a video frame and 2,048
              of a clip
volume        at most 64 voxels and 2,048 patches, as measured; training varies brightness and contrast by a tenth
video         at most 64 pixels a side: what a small machine can show the model often enough
bands         half the rows along an axis (their Nyquist frequency), at most 32
model         behind stems 32 latents of 192 channels and four layers, less below 500 examples (``LADDER``); signals
              are attended to twice, text once, with one layer behind it. Without stems 64 latents of 256 channels and
              eight layers, less below 5,000 examples and below 500 (``PLAIN_LADDER``); a picture is then attended to
              four times: the paper has eight cross-attends for pictures, two for points and sound
text          behind a stem up to 8,192 bytes at a time, of which training leaves out 0.75, and 0.875 from 512 bytes
              on: the n-grams of neighbours overlap, and words are to be missing (docs/decisions/0014); otherwise, and
              beside other signals, 2,048 bytes; evaluation averages over four passages of longer texts
short runs    one step down that ladder where there are more than 1,000 examples for each minute of training and the
              task has one answer for each example
sound         windows of at most 10 seconds; over longer clips evaluation averages up to 16 windows that overlap by half
points        at most 1,024 points of a cloud, a row for eight of them; without a stem, training leaves out half of the
              rows where there are more than 512
several       each signal is treated by its own rules, and they are attended to together, as often as the one that is
modalities    attended to most; training masks the one with the most patches in 0.3 of the examples, as the paper does
crop, flip    a training crop keeps at least 0.6 of the area. Pictures of several channels and all video are mirrored;
              grey pictures (digits, letters, spectra) are not. The colours of video vary by a fifth, those of pictures
              by two fifths where there are fewer than 1,000 to learn from: else they are learned by heart
flow          a row for each pixel of a frame of at most 32 × 32, which a stem compares with the pixels around it in
              the other frame (without one, the row holds the 9 × 9 pixels around it in both frames); a small model,
              because what a pixel matches is near it; training asks for 256 pixels at a time; synthetic motion is at
              most a quarter of a frame; a larger frame is answered tile by tile, from coarse to fine at four sizes
reconstruct   the share of rows that is masked is 0.75 in pictures, sound and video, 0.15 in text and 0.5 in other
              signals; training asks for 1,024 rows of each modality at a time
mlm           256 bytes at a time, with Fourier features of their positions; the queries are the input's rows, to which
              a decoder with an MLP four times as wide adds; a pointer copies what the passage shows; training hides
              half of the words, evaluation 0.15; one step down the ladder, twice the learning rate and ten times the
              weight decay (docs/decisions/0014); of fewer than 2,500 passages for each minute, which are learned by
              heart, training drops a tenth of the channels, and gives half of the words that a passage repeats other
              letters
aligned start with ``reconstruct`` and ``mlm``, attention starts where positions agree, with several cross-attention
              heads: nothing is learned before a query finds its row (docs/decisions/0009); with video alone, too, so
              that latents start as moments
decoder       of one answer for each example, the mean of the latents and a linear layer; of video alone a linear layer
              on all latents, each with weights of its own (docs/decisions/0019)
tables        training varies numbers by a tenth of their standard deviation and hides a fifth of the values; with fewer
              than 1,000 lines to learn from, which are soon learned by heart, by a fifth and 0.3 (docs/decisions/0020)
epochs        150,000 examples in all, but 30 to 300 epochs; 20 of tables; flow trains as long as there is time
batch size    64; 32 below 2,000 examples, 16 below 500, and 16 where the task has an answer for every row
time          20 minutes unless given
============= ================================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ...modalities import ModalityConfig
from ...nn import DecoderConfig
from ...tasks import TaskConfig
from ..backbones import BackboneConfig
from ..perceiver import PerceiverConfig
from ..recipe import RecipeConfig
from .facts import MINUTES, Facts, parts_of
from .inputs import choose_inputs
from .model import choose_decoder, choose_encoder, choose_task
from .recipe import choose_drop_rows, choose_recipe

__all__ = [
    "MINUTES",
    "Auto",
    "Choice",
    "Facts",
    "choose_decoder",
    "choose_encoder",
    "choose_inputs",
    "choose_recipe",
    "choose_task",
    "parts_of",
]


@dataclass(frozen=True)
class Choice:
    """A model and its recipe.

    Attributes:
        task: None: the labels of the data determine its configuration.
    """

    inputs: ModalityConfig
    encoder: BackboneConfig
    decoder: DecoderConfig | Literal["linear"] | None
    recipe: RecipeConfig
    task: TaskConfig | None


class Auto:
    """The preset ``auto``; a paper's preset has the same attribute and method."""

    kinds: None = None  # of the signals that it reads: any

    def choose(self, measured: ModalityConfig, facts: Facts, *, start: PerceiverConfig | None = None) -> Choice:
        """A model and a recipe for some data.

        Args:
            measured: the modality's configuration as measured on the data.
            facts: what else is known.
            start: the model whose inputs and encoder are taken over; None: a new one.
        """
        inputs = choose_inputs(measured, facts)
        encoder = choose_encoder(inputs, facts)
        decoder, recipe = choose_decoder(inputs, encoder, facts), choose_recipe(inputs, facts)
        if start is not None:
            inputs, encoder = start.inputs, start.encoder
            recipe = replace(recipe, drop_rows=choose_drop_rows(inputs, facts))  # of the rows that it has
        return Choice(inputs, encoder, decoder, recipe, choose_task(inputs, facts))
