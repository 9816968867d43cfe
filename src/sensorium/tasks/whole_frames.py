"""The figures by which optical flow is compared: of whole frames, over a data set, as RAFT's published evaluation takes
them (github.com/princeton-vl/RAFT, ``evaluate.py``), which most published figures follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

OUTLIER_PIXELS, OUTLIER_SHARE = 3.0, 0.05  # an error above both is an outlier (Menze and Geiger 2015)


class WholeFrames:
    """Errors of predicted motion over the frames of a data set, of all pixels whose motion is known; the masks of
    occluded and of invalid pixels that Sintel has are not used.

    >>> whole = WholeFrames()
    >>> whole.add(np.zeros((2, 1, 2)), np.array([[[3.0, 0.0]], [[4.0, 0.0]]]))
    >>> whole.metrics()
    {'whole_epe': 2.5, 'whole_outliers': 0.5}
    """

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(4))  # mean error, frames, outliers, pixels

    def add(self, flow: np.ndarray, true_flow: np.ndarray, *, render_pass: str | None = None) -> None:
        """Add a pair of frames.

        Args:
            flow: 2 × height × width, in pixels.
            true_flow: the same, NaN where it is unknown.
            render_pass: which rendering of a scene the frames are, where a data set has several.
        """
        known = ~np.isnan(true_flow).any(0)
        if not known.any():
            return
        errors = np.hypot(*(flow - true_flow)[:, known].astype(np.float64))
        outliers = errors > np.maximum(OUTLIER_PIXELS, OUTLIER_SHARE * np.hypot(*true_flow[:, known]))
        for name in ("", *([render_pass] if render_pass else ())):
            self._sums[name] += errors.mean(), 1, outliers.sum(), known.sum()

    def metrics(self) -> dict[str, float]:
        """``whole_epe``: the mean over frames of each one's mean end-point error in pixels; ``whole_outliers``: the
        share of all motions that are off by more than 3 pixels and by more than 5 % of their length (KITTI's Fl-all).
        Of several render passes, also those of each: ``clean_whole_epe``. {}: no motion is known."""
        return dict(_named(self._sums))


def _named(sums: dict[str, np.ndarray]) -> Iterable[tuple[str, float]]:
    for name, (errors, frames, outliers, pixels) in sums.items():
        prefix = f"{name}_" if name else ""
        yield f"{prefix}whole_epe", float(errors / frames)
        yield f"{prefix}whole_outliers", float(outliers / pixels)
