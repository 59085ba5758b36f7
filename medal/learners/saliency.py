"""Saliency: where in the image a trained classifier finds the evidence for each label (survey, section 5.1.1).

Zhou, Khosla, Lapedriza, Oliva, Torralba, "Learning deep features for discriminative localization", CVPR 2016: class
activation maps, sum_k w_lk A_k for a network that ends in global average pooling and a linear layer.
Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", ICCV 2017: for any
network, the weight of a channel is the gradient of the class score, summed over the map.

Both are one formula here, because the gradient of an average over h w places is w_lk / (h w) at each of them: the
result is the exact class activation map where the network ends in average pooling and a linear layer, and h w times
the mean form of Grad-CAM elsewhere. Maps are signed; what speaks against a label is negative.

The last feature map is found while the network runs, whether a module or a function made it, and the graph is recorded
from there on: one pass through the body without gradient, and one short backward pass for each label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from medal.errors import MissingOutput
from medal.learners.heads import Head

Scores = Callable[[Tensor], Tensor]
"""scores(features (R, F)) -> (R, L), the numbers whose evidence is sought."""
AFTERWARDS = ("pool", "dropout")
"""Parts of the names of functions whose results are not the feature map any more, though they may have its axes."""


def has_maps(shape: Sequence[int]) -> bool:
    """Whether rows of this shape, (channels, *S), have places at all; tables of features do not.

    Example:
        >>> has_maps((1, 64, 64)), has_maps((1280,))
        (True, False)
    """
    return len(shape) >= 3


def class_scores(head: Head, raw: Float[Tensor, "r d"]) -> Float[Tensor, "r l"]:
    """The score of each label that its map explains.

    Args:
        head: reads raw outputs.
        raw: (R, D).

    Returns:
        (R, L): the logit; for a head of kind "evidence" the evidence for the label minus the evidence against it,
        alpha - beta, which has a gradient where the probability itself is saturated.

    Example:
        >>> from medal.learners import Beta
        >>> class_scores(Beta(evidence="relu"), torch.tensor([[3.0, 1.0]]))
        tensor([[2.]])
    """
    if head.kind != "evidence":
        return raw
    alpha, beta = head.outputs(raw[:, None])["evidence"].unbind(-1)
    return alpha - beta


def class_activation_maps(
    backbone: nn.Module, scores: Scores, images: Float[Tensor, "r channels *s"]
) -> Float[Tensor, "r l *t"]:
    """Signed class activation maps of every label.

    A transformer's tokens lack the axes of the images: of such a network the embedding of patches would be read, which
    says little; give it a backbone that folds its last tokens into a map.

    Args:
        backbone: images to features (R, F), in evaluation mode; its last tensor with the axes of the images is the
            feature map.
        scores: features to label scores.
        images: (R, channels, *S).

    Returns:
        (R, L, *T) at the size of the feature map, float32. Only what follows the map is kept in memory for gradients.

    Raises:
        MissingOutput: when the network has no feature map, or its scores do not depend on it.
    """
    with torch.no_grad():
        one, last = images[:1], _Cut(images)
        with last:
            backbone(one)
        if last.seen < 0:
            raise MissingOutput(
                f"{type(backbone).__name__} makes no feature map of {tuple(images.shape[1:])}, so it has no saliency; "
                "take a network of convolutions"
            )
        cut = _Cut(images, last.seen)
        with cut:
            features = backbone(images)  # from the map on, with gradient
        if cut.maps is None:
            raise MissingOutput(f"{type(backbone).__name__} runs otherwise on one image than on several; mend it")
        with torch.enable_grad():
            values = scores(features)
        made = [_of_label(values[:, label], cut.maps, type(backbone).__name__) for label in range(values.shape[1])]
    return torch.stack(made, 1).float()


def _of_label(values: Tensor, maps: Tensor, who: str) -> Tensor:
    """Map of one label, (R, *T); rows do not mix, so that one backward pass of the sum serves all of them."""
    gradient = None
    if values.requires_grad:
        (gradient,) = torch.autograd.grad(values.sum(), maps, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise MissingOutput(f"{who}: its features do not depend on its last feature map, so it has no saliency")
    weight = gradient.flatten(2).sum(2)
    return torch.einsum("rk,rkn->rn", weight, maps.detach().flatten(2)).unflatten(1, maps.shape[2:])


class _Cut(TorchFunctionMode):
    """Watches every operation; counts the feature maps, and starts the graph at one of them.

    Args:
        images: what the network is given.
        at: number of the feature map at which the graph starts; None only counts.
    """

    def __init__(self, images: Tensor, at: int | None = None) -> None:
        super().__init__()
        self._axes = images.ndim
        self._at = at
        self.seen = -1
        self.maps: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if not self._is_map(made) or any(word in getattr(func, "__name__", "") for word in AFTERWARDS):
            return made
        self.seen += 1
        if self.seen != self._at:
            return made
        torch.set_grad_enabled(True)  # the surrounding no_grad takes it back
        self.maps = begin = made.detach().requires_grad_()
        return begin.clone()  # the next operation may write in place

    def _is_map(self, made: object) -> bool:
        return (
            isinstance(made, Tensor)
            and made.ndim == self._axes
            and made.is_floating_point()
            and math.prod(made.shape[2:]) > 1
        )
