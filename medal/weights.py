"""Weights on the disk: safetensors, named by the hash of what they hold.

The hash covers names, types, shapes and numbers in the order of the names; it does not depend on metadata, on the order
in the state dict, on the device, or on how the file is laid out. Reading runs no code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medal.errors import StudyError
from medal.storage import write_bytes

if TYPE_CHECKING:
    from torch import Tensor


def _settled(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, by sorted name; tied weights become tensors of their own, as the file format asks."""
    import torch

    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise StudyError(
                f"weight {name!r} is a {type(value).__name__}; expected a tensor: leave it out of the state dict"
            )
    return {name: state[name].detach().cpu().contiguous().clone() for name in sorted(state)}


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 of a state dict's content.

    Args:
        state: name -> dense tensor of any type, shape and device.

    Raises:
        StudyError: if an entry is no tensor.

    Example:
        >>> import torch
        >>> a, b = torch.ones(2), torch.zeros(())
        >>> weights_hash({"a": a, "b": b}) == weights_hash({"b": b, "a": a})
        True
    """
    return _hash(_settled(state))


def _hash(settled: Mapping[str, Tensor]) -> str:
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(settled.items()):
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode() + b"\n")
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_weights(path: Path, state: Mapping[str, Tensor]) -> str:
    """Writes a state dict atomically.

    Args:
        path: the safetensors file.
        state: name -> dense tensor.

    Returns:
        The hash of its content, see `weights_hash`.

    Raises:
        StudyError: if an entry is no tensor.
        StorageFull: when the disk is full; an earlier file stays as it was.
    """
    from safetensors.torch import save

    settled = _settled(state)
    write_bytes(path, save(settled))
    return _hash(settled)


def load_weights(path: Path, expected: str | None = None) -> dict[str, Tensor]:
    """Reads a state dict.

    Args:
        path: the safetensors file.
        expected: hash that the content must have; None to take what is there.

    Raises:
        StudyError: if the file is missing, damaged or not the expected one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state = load(path.read_bytes())
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; expected the weights that were stored there") from None
    except SafetensorError as error:
        raise StudyError(f"{path} is damaged ({error}); expected a safetensors file") from error
    found = _hash(state)
    if expected is not None and found != expected:
        raise StudyError(f"{path} holds weights with hash {found[:12]}; expected {expected[:12]}")
    return state
