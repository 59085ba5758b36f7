"""Local checkpoints to start from: safetensors or a state dict, never code."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from medal.errors import ConfigError
from medal.learners.protocol import Backbone

PREFIXES = ("", "module.", "model.", "backbone.", "encoder.")
"""What wrappers put before the names of a network's tensors."""
log = logging.getLogger(__name__)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint.

    Args:
        path: `.safetensors`, or a file of torch.save that holds tensors only.

    Raises:
        ConfigError: when there is no such file, or it holds anything but tensors.
    """
    if not path.is_file():
        raise ConfigError(f"learner.init: there is no file {path}; give a .safetensors or a torch state dict")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign pickles, which are refused in a line of our own
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConfigError(f"learner.init: {path.name} is no checkpoint of tensors ({type(error).__name__})") from None
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ConfigError(f"learner.init: {path.name} holds something else than named tensors; export its state dict")
    return dict(loaded)


def fit_channels(weight: Tensor, like: Tensor) -> Tensor:
    """Brings the first convolution of an RGB network to one channel by summing over colour."""
    one_channel = weight.ndim == 4 and weight.shape[1] == 3 and like.ndim == 4 and like.shape[1] == 1
    return weight.sum(1, keepdim=True) if one_channel and weight.shape[0] == like.shape[0] else weight


def start_from(model: nn.Module, path: Path) -> int:
    """Copies every tensor of a checkpoint that fits into a model; a head of another shape stays new.

    Args:
        model: changed in place; its backbone may know its tensors under further names (`Backbone.aliases`).
        path: see `read_weights`.

    Returns:
        How many tensors were taken.

    Raises:
        ConfigError: when less than half of the backbone's tensors fit.
    """
    found, own = read_weights(path), model.state_dict()
    backbone, taken = getattr(model, "backbone", None), {}
    for name, like in own.items():
        bare = name.removeprefix("backbone.")
        names = [name, bare]
        if bare != name and isinstance(backbone, Backbone):
            names += backbone.aliases(bare)
        value = next((found[p + n] for n in names for p in PREFIXES if p + n in found), None)
        if value is not None and (value := fit_channels(value, like)).shape == like.shape:
            taken[name] = value.to(like.dtype)
    wanted = [k for k in own if k.startswith("backbone.")]
    fitting = sum(k in taken for k in wanted)
    if 2 * fitting < len(wanted):
        raise ConfigError(
            f"learner.init: {path.name} fits {fitting} of the backbone's {len(wanted)} tensors; "
            "choose the network that it was made with"
        )
    model.load_state_dict(taken, strict=False)
    log.info("started from %s: %d of %d tensors", path.name, len(taken), len(own))
    return len(taken)
