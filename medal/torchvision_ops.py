"""Lets torchvision import beside a CPU build of torch.

The registry's torchvision is built against CUDA and cannot load its compiled operators beside a CPU torch, so that its
import fails with "operator torchvision::nms does not exist". Declaring the two schemas is enough for its models and
transforms, and for the libraries that import it. A healthy torchvision is left untouched.
"""

from __future__ import annotations

import importlib
import sys

_KEEP: list[object] = []
"""Holds the library object; its declarations vanish with it."""

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def prepare_torchvision() -> bool:
    """Makes `import torchvision` work; call this before importing it or anything that does.

    Returns:
        True when the declarations were needed, False when torchvision is healthy or absent.
    """
    if "torchvision" in sys.modules:
        return bool(_KEEP)
    try:
        importlib.import_module("torchvision")
        return False
    except ImportError:
        return False
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    from torch.library import Library

    for name in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
        del sys.modules[name]
    declared = Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        declared.define(f"{operator}{_SCHEMA}")
    _KEEP.append(declared)
    importlib.import_module("torchvision")
    return True
