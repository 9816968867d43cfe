"""The networks that the paper's tables compare the Perceiver with (Perceiver Tables 1, 2 and 4), and another
implementation of it, as backbones: ``sensorium compare`` trains them, and ``--set model.encoder={kind: …}`` names them.

All of them read the rows of a byte array, values and Fourier features (the tables' "FF"), never a masked row, and give
one latent for each example, which a linear layer classifies. The layers are our own because those of ``transformers``
read pictures only, and whole ones: no sound, no volumes, no masks. Where both read the same, they compute the same
(``tests/models/test_paper_baselines.py``).
"""
