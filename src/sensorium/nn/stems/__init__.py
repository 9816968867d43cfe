"""Stems: small local networks between a signal and its rows, so that a row knows what lies beside it.

One file for each kind of neighbourhood. Perceiver IO has two for pictures (``published``); ``auto`` gives every kind of
signal one. What a stem makes of a signal are the ``values`` of a segment; positions stay beside them, so that
structured attention applies. Masked rows change no other row.
"""

from .grid import GridStem, GridStemConfig, Stage, patches_of
from .matches import MatchStem, MatchStemConfig, matches_of
from .neighbours import NeighbourStem, NeighbourStemConfig
from .ngrams import NGramStem, NGramStemConfig
from .numbers import NumberStem, NumberStemConfig
from .published import Convolution, ConvolutionConfig, Pointwise, PointwiseConfig

__all__ = [
    "Convolution",
    "ConvolutionConfig",
    "GridStem",
    "GridStemConfig",
    "MatchStem",
    "MatchStemConfig",
    "NGramStem",
    "NGramStemConfig",
    "NeighbourStem",
    "NeighbourStemConfig",
    "NumberStem",
    "NumberStemConfig",
    "Pointwise",
    "PointwiseConfig",
    "Stage",
    "matches_of",
    "patches_of",
]
