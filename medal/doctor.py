"""What `medal doctor` looks at: whether this machine can do the work."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CODECS = {
    "JPEG baseline": "1.2.840.10008.1.2.4.50",
    "JPEG lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
    "RLE": "1.2.840.10008.1.2.5",
}
LOW_DISK = 2 << 30


@dataclass(frozen=True)
class Finding:
    """One line of the examination: what was looked at, what was found, and the mend where something is wrong."""

    what: str
    found: str
    mend: str = ""


def examine(folder: Path) -> Iterator[Finding]:
    """Looks at device, disk, codecs and libraries.

    Args:
        folder: where runs will be written.
    """
    import torch

    import medal

    yield Finding("medal", medal.__version__)
    yield Finding("python", platform.python_version())
    yield Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield Finding("device", _device())
    free = shutil.disk_usage(folder).free
    yield Finding("disk", f"{free / 2**30:.1f} GiB free", "make room before a long run" if free < LOW_DISK else "")
    yield _torchvision()
    yield from _codecs()
    yield _private()


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()} (use learner.device=cuda)"
    return "CPU"


def _torchvision() -> Finding:
    from medal.torchvision_ops import prepare_torchvision

    if importlib.util.find_spec("torchvision") is None:
        return Finding("torchvision", "not installed", "pip install torchvision")
    declared = prepare_torchvision()
    import torchvision

    how = "its compiled operators do not fit this torch; models and transforms work" if declared else "healthy"
    return Finding("torchvision", f"{torchvision.__version__}, {how}")


def _codecs() -> Iterator[Finding]:
    if importlib.util.find_spec("pydicom") is None:
        yield Finding("DICOM", "pydicom is not installed", "pip install pydicom")
        return
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    for name, syntax in CODECS.items():
        plugins = get_decoder(UID(syntax)).available_plugins
        mend = "" if plugins else "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle"
        yield Finding(f"DICOM {name}", ", ".join(plugins) or "cannot be decoded", mend)


def _private() -> Finding:
    from medal.identity import private_folder

    folder = private_folder()
    open_to_others = folder.stat().st_mode & 0o077
    mend = f"chmod 700 {folder}" if open_to_others else ""
    return Finding("pseudonyms", f"key and tables in {folder}", mend)
