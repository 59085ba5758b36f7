"""Discrimination and calibration of independent labels (survey, section 6.1).

Area under the receiver operating characteristic and average precision are scikit-learn's. The expected calibration
error (Guo et al., ICML 2017) is the binary one: the predicted probability of the label against its frequency, not the
confidence of the more likely side. Labels that are unknown (NaN) or stated as uncertain (-1) take no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from medal.errors import BadTable, OutputError

BINS = 15
MACRO = ("auroc", "auprc", "ece")


def auroc(probabilities: Float[Tensor, " r"], targets: Float[Tensor, " r"]) -> float | None:
    """Chance that a positive is ranked above a negative, ties counting half.

    Args:
        probabilities: (R) in [0, 1].
        targets: (R) of 1, 0, NaN and -1.

    Returns:
        In [0, 1]; None unless both classes are there.

    Raises:
        OutputError: when a probability is not in [0, 1].
        BadTable: when a target is something else.

    Example:
        >>> import torch
        >>> auroc(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1.0, 0.0, 0.0]))
        1.0
    """
    from sklearn.metrics import roc_auc_score

    p, y = _known(probabilities, targets)
    return float(roc_auc_score(y, p)) if 0 < y.sum() < len(y) else None


def auprc(probabilities: Float[Tensor, " r"], targets: Float[Tensor, " r"]) -> float | None:
    """Average precision, the step-wise area under precision against recall.

    Args:
        probabilities: (R) in [0, 1].
        targets: (R) of 1, 0, NaN and -1.

    Returns:
        In [0, 1], about the prevalence for a guess; None unless both classes are there.

    Raises:
        OutputError: when a probability is not in [0, 1].
        BadTable: when a target is something else.

    Example:
        >>> import torch
        >>> auprc(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([0.0, 1.0, 0.0]))
        0.5
    """
    from sklearn.metrics import average_precision_score

    p, y = _known(probabilities, targets)
    return float(average_precision_score(y, p)) if 0 < y.sum() < len(y) else None


def ece(probabilities: Float[Tensor, " r"], targets: Float[Tensor, " r"], bins: int = BINS) -> float | None:
    """Expected calibration error over equal-width bins of the predicted probability.

    Args:
        probabilities: (R) in [0, 1].
        targets: (R) of 1, 0, NaN and -1.
        bins: at least 1; the last one holds p = 1.

    Returns:
        Mean over rows of |mean probability - frequency| of their bin, in [0, 1]; None when no label is known.

    Raises:
        OutputError: when a probability is not in [0, 1].
        BadTable: when a target is something else.

    Example:
        >>> import torch
        >>> round(ece(torch.full((4,), 0.95), torch.tensor([1.0, 1.0, 1.0, 0.0])), 4)
        0.2
    """
    p, y = _known(probabilities, targets)
    if not len(y):
        return None
    index = np.minimum((p * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(index, weights=p - y, minlength=bins)
    return float(np.abs(gaps).sum() / len(y))


def brier(probabilities: Float[Tensor, " r"], targets: Float[Tensor, " r"]) -> float | None:
    """Mean squared error of the probability.

    Args:
        probabilities: (R) in [0, 1].
        targets: (R) of 1, 0, NaN and -1.

    Returns:
        In [0, 1]; None when no label is known.

    Raises:
        OutputError: when a probability is not in [0, 1].
        BadTable: when a target is something else.

    Example:
        >>> import torch
        >>> brier(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]))
        0.25
    """
    p, y = _known(probabilities, targets)
    return float(np.square(p - y).mean()) if len(y) else None


def evaluate_multilabel(
    probabilities: Float[Tensor, "r l"], targets: Float[Tensor, "r l"], names: Sequence[str], min_positives: int = 20
) -> dict[str, Any]:
    """Every metric of every label, and their means over the labels that can be estimated.

    Args:
        probabilities: (R, L) in [0, 1].
        targets: (R, L) of 1, 0, NaN and -1.
        names: (L) labels.
        min_positives: positives, and negatives, below which a label is not estimable and left out of the means.

    Returns:
        {"labels": {name: {auroc, auprc, ece, brier, positives, negatives, estimable}},
        "macro": {auroc, auprc, ece, estimable}}; plain numbers for JSON, None where a metric is not defined.

    Raises:
        OutputError: when a probability is not in [0, 1], or shapes or names do not fit.
        BadTable: when a target is something else.

    Example:
        >>> import torch
        >>> p, y = torch.tensor([[0.9], [0.2]]), torch.tensor([[1.0], [0.0]])
        >>> evaluate_multilabel(p, y, ["mass"], min_positives=1)["macro"]["auroc"]
        1.0
    """
    if probabilities.shape != targets.shape or probabilities.ndim != 2 or probabilities.shape[1] != len(names):
        raise OutputError(
            f"probabilities {tuple(probabilities.shape)}, targets {tuple(targets.shape)}, {len(names)} names; "
            "expected (R, L) twice and L names"
        )
    labels = {n: _label(probabilities[:, i], targets[:, i], min_positives) for i, n in enumerate(names)}
    kept = [values for values in labels.values() if values["estimable"]]
    macro: dict[str, Any] = {m: float(np.mean([v[m] for v in kept])) if kept else None for m in MACRO}
    return {"labels": labels, "macro": macro | {"estimable": len(kept)}}


def _label(probabilities: Tensor, targets: Tensor, min_positives: int) -> Mapping[str, Any]:
    positives, negatives = int((targets == 1).sum()), int((targets == 0).sum())
    return {
        "auroc": auroc(probabilities, targets),
        "auprc": auprc(probabilities, targets),
        "ece": ece(probabilities, targets),
        "brier": brier(probabilities, targets),
        "positives": positives,
        "negatives": negatives,
        "estimable": min(positives, negatives) >= max(min_positives, 1),
    }


def _known(probabilities: Tensor, targets: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and 0 / 1 targets of the known labels, float64."""
    p, y = probabilities.detach().cpu().double().numpy(), targets.detach().cpu().double().numpy()
    if p.shape != y.shape:
        raise OutputError(f"probabilities {p.shape} for targets {y.shape}; give one for each")
    known = (y == 0) | (y == 1)
    strange = y[~known & ~np.isnan(y) & (y != -1)]
    if len(strange):
        raise BadTable(f"targets: found {strange[0]:g}, expected 1, 0, NaN or -1; soft labels cannot be evaluated")
    p, y = p[known], y[known]
    outside = p[~((p >= 0) & (p <= 1))]
    if len(outside):
        raise OutputError(f"probabilities: found {outside[0]:g}, expected [0, 1]; mend the learner's marginals")
    return p, y
