"""The published Perceiver IO checkpoints, for ``sensorium import``.

A checkpoint is a preset and a table of three columns: a weight's name here, its name in ``transformers``, and its name
in the authors' haiku. Tables do not depend on sizes, which are read off the weights.

The authors' code and ``transformers`` compute different outputs from the same weights. ``compat`` says which one is
followed, by default the source of the file, with which its weights are known to work. It is written into the
configuration as settings:

- the GELU: approximated by tanh in the authors' code, exact in ``transformers``;
- the convolutional stem: 56 × 56 rows in the authors' code, 55 × 55 in ``transformers``;
- the stem's kernels: the script that converted the weights to ``transformers`` swapped height and width;
- the output of the model with learned positions: ``transformers`` adds the query to it, the authors' code does not.

No code in a file is ever run: of pickles, only arrays in mappings are read.
"""

from .catalogue import CHECKPOINTS
from .checkpoint import Published
from .importing import Imported, import_published
from .names import Compat, Name, Weights

__all__ = ["CHECKPOINTS", "Compat", "Imported", "Name", "Published", "Weights", "import_published"]
