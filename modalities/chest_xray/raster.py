"""One PNG or JPEG radiograph to pixels in [0, 1], bright = dense.

Survey section 5.1.1: the public sets (NIH ChestX-ray14, CheXpert) come as 8-bit pictures that are ready for display,
so that 0 and 255 are the ends of the range. Sixteen bits (PadChest) carry no such convention and are stretched between
their 0.5 and 99.5 percentiles, as a DICOM file without a window is. Orientation tags of cameras (EXIF) are ignored.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from medal.errors import BadInput
from modalities.chest_xray.film import Film
from modalities.chest_xray.hostile import check_budget, declared_size, guarded, is_raster, open_regular
from modalities.chest_xray.luts import stretched
from modalities.chest_xray.pixels import Picture


def read_picture(path: Path) -> Picture:
    """Reads one file; colour becomes luminance, transparency is dropped.

    Args:
        path: a PNG or JPEG file.

    Returns:
        The picture without its border, text in the margin covered.

    Raises:
        BadInput: for everything that cannot be read; nothing else is raised.
    """
    with guarded(path, "PNG or JPEG picture"):
        file, head = open_regular(path)
        with file:
            if not is_raster(head):
                raise BadInput("the file is neither PNG nor JPEG by its first bytes; export it as one of them")
            data = file.read()
        size = declared_size(data)
        if size is None:
            raise BadInput("the picture's header is broken: it states no size; export it again")
        check_budget(size[0], size[1])
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as picture:
            return Picture(_grey(picture))


def _grey(picture: Image.Image) -> Film:
    if picture.mode.startswith(("I", "F")):
        return stretched(np.asarray(picture))
    if picture.mode == "P":  # a palette may carry its transparency as bytes, which the way over RGB leaves behind
        picture = picture.convert("RGB")
    return Film(np.asarray(picture if picture.mode == "L" else picture.convert("L")), (1 / 255, 0.0))
