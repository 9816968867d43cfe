"""The published Perceiver IO checkpoints: what each one is, and a table of names; ``sensorium import``.

A checkpoint is a preset and a table of three columns: our name of a weight, that of ``transformers``, and that of the
authors' haiku. Tables do not depend on sizes: those are read off the weights.

The authors' code and ``transformers`` do not compute the same from the same weights; which one is followed
(``compat``) is written into the configuration, by default the one that the file comes from, since its weights are known
to work there:

- the GELU: by tanh in the authors' code, exact in ``transformers``;
- the convolutional stem: 56 × 56 rows in the authors' code, 55 × 55 in ``transformers``;
- its kernels: the script by which the weights came to ``transformers`` swapped height and width, the authors did not;
- the learned model's answer: the query is added to it in ``transformers`` only.

Nothing in a file is ever run: weights are read as weights alone, pickles as arrays in mappings and nothing else.
"""

from .catalogue import CHECKPOINTS, Published
from .importing import Imported, import_published
from .names import Compat, Name, Weights

__all__ = ["CHECKPOINTS", "Compat", "Imported", "Name", "Published", "Weights", "import_published"]
