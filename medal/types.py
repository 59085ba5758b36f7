"""Axis letters, fixed once, as jaxtyping aliases; tests check them at run time.

N units in the pool, U candidates, R rows of an output, K chosen, M members (draws), C exclusive classes,
L independent labels, F features, *S space. The same letter in one signature is the same size.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

Images = Float[Tensor, "r channels *s"]
"""Pixels as the network sees them, float32 in [0, 1]."""
Probs = Float[Tensor, "r m c *s"]
"""Softmax probabilities; they sum to 1 over c."""
Marginals = Float[Tensor, "r m l"]
"""Bernoulli probabilities of independent labels, each in [0, 1]."""
BetaEvidence = Float[Tensor, "r l 2"]
"""Beta parameters (alpha, beta) of each label, each at least 1."""
Features = Float[Tensor, "r f"]
Targets = Float[Tensor, "r l"]
"""1 present, 0 absent, NaN unknown, -1 stated as uncertain, values between for soft targets."""
Scores = Float[Tensor, " u"]
"""Bigger = more worth annotating; finite."""
Positions = Int[Tensor, " u"]
"""Positions in the canonical order of the pool's units."""
Picks = Int[Tensor, " k"]
Mask = Bool[Tensor, " n"]
