"""NT-Xent, the loss of SimCLR: two views of one image are near, views of different images are apart (survey, 4.2).

Chen, Kornblith, Norouzi, Hinton, "A simple framework for contrastive learning of visual representations", ICML 2020.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from medal.errors import ConfigError


def nt_xent(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"], temperature: float = 0.5) -> Tensor:
    """Normalised temperature-scaled cross-entropy, mean over the 2 N views.

    Each view is told from the 2 N - 1 others which one is of the same image, by cosine similarity over a temperature.

    Args:
        first: (N, D) projected views, N at least 2.
        second: (N, D) the other views of the same images.
        temperature: above 0; small ones weigh the nearest negatives.

    Returns:
        Scalar in nats; log(2 N - 1) when all views look alike.

    Raises:
        ConfigError: on views that do not pair, or a temperature that cannot divide.

    Example:
        >>> nt_xent(torch.ones(2, 3), torch.ones(2, 3)).exp()
        tensor(3.)
    """
    if first.shape != second.shape or first.ndim != 2 or len(first) < 2:
        found = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ConfigError(f"NT-Xent: found views {found}; expected two tables (N, D) of the same shape, N at least 2")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"NT-Xent: found temperature {temperature}, expected a number above 0")
    views = F.normalize(torch.cat([first, second]).float(), dim=1)
    count = len(first)
    similarity = views @ views.T / temperature
    itself = torch.eye(2 * count, dtype=torch.bool, device=views.device)
    partner = torch.arange(2 * count, device=views.device).roll(count)
    return F.cross_entropy(similarity.masked_fill(itself, -torch.inf), partner)
