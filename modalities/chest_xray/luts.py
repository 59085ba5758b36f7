"""Stored values to displayed values: modality table, value-of-interest table or window, inversion, padding.

Survey section 5.1.1. DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT; LINEAR, LINEAR_EXACT, SIGMOID), C.7.6.3.1.2
(MONOCHROME1), C.8.11.3.1 (Presentation LUT Shape), C.7.5.1.1.2 (pixel padding). Two properties decide the form: padding
is known by its stored value, so that it is found before any table; and a stored value has at most 16 bits, so that
everything that is not a straight line becomes one table of at most 65,536 entries.

Differs from `pydicom.pixels.apply_voi`, 3.0.2: an 8-bit table is indexed without wrapping, and tables packed as one
byte an entry are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medal.errors import BadInput
from modalities.chest_xray.film import Film, Line, Pixels

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]

SAMPLES = 65_536
"""Pixels that percentiles are taken from, at least, where the picture has as many."""


def film_of(stored: np.ndarray, header: Dataset) -> Film:
    """Applies the display chain of a DICOM header to its pixels.

    Args:
        stored: (rows, columns) integers of 8 or 16 bits as stored.
        header: the file's tags.

    Returns:
        A film that shows [0, 1], bright = dense, padding 0.

    Raises:
        BadInput: if a tag of the chain cannot be used, or all pixels are padding or equal.

    Example:
        >>> header = Dataset()
        >>> header.PhotometricInterpretation, header.WindowCenter, header.WindowWidth = "MONOCHROME1", "128", "256"
        >>> film_of(np.array([[0, 51, 255]], dtype=np.uint8), header).shown().round(2)
        array([[1. , 0.8, 0. ]], dtype=float32)
    """
    padding = _padding(stored, header)
    modality = _modality(header)
    voi = _voi_table(header) or _window(header) or _percentiles(stored, padding, modality)
    if isinstance(modality, tuple) and isinstance(voi, tuple):
        slope, offset = voi[0] * modality[0], voi[0] * modality[1] + voi[1]
        transfer = (-slope, 1 - offset) if _inverted(header) else (slope, offset)
    else:
        transfer = _table_of_chain(stored, modality, voi, _inverted(header))
    return Film(stored, transfer, padding)


def stretched(stored: np.ndarray) -> Film:
    """Maps the 0.5 and 99.5 percentiles of pixels without a display convention to 0 and 1.

    Args:
        stored: (rows, columns) integers.

    Returns:
        A film that shows [0, 1].

    Raises:
        BadInput: if all pixels are equal.
    """
    return Film(stored, _percentiles(stored, None, (1.0, 0.0)))


def _inverted(header: Dataset) -> bool:
    """Whether low values are bright.

    MONOCHROME1 and the shape INVERSE state the same fact (PS3.3 C.8.11.3.1 asks for both together), so that they invert
    once, not twice.
    """
    shape = str(header.get("PresentationLUTShape") or "").strip().upper()
    return str(header.PhotometricInterpretation).strip().upper() == "MONOCHROME1" or shape == "INVERSE"


def _padding(stored: np.ndarray, header: Dataset) -> NDArray[np.bool_] | None:
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    limit = header.get("PixelPaddingRangeLimit")
    low, high = sorted(_as_stored(v, stored.dtype) for v in (value, value if limit is None else limit))
    mask = stored == low if low == high else (stored >= low) & (stored <= high)
    if not mask.any():
        return None
    if mask.all():
        raise BadInput("every pixel has the padding value, expected a picture")
    return mask


def _as_stored(value: object, dtype: np.dtype) -> int:
    """A padding tag in the sign of the pixels: writers mix US and SS, and the 16 bits are what counts."""
    number = int(value)  # type: ignore[call-overload]
    info = np.iinfo(dtype)
    if info.min <= number <= info.max:
        return number
    turned = number - 65_536 if number > info.max else number + 65_536
    return turned if info.min <= turned <= info.max else number


def _number(header: Dataset, keyword: str) -> float | None:
    """The first value of a decimal tag, or None where it is absent or empty."""
    value = header.get(keyword)
    if value is None or value == "":
        return None
    if isinstance(value, (list, tuple)) or hasattr(value, "append"):  # alternative windows: the first is the default
        if not len(value):
            return None
        value = value[0]
    return float(value)


def _modality(header: Dataset) -> Curve | Line:
    if header.get("ModalityLUTSequence"):
        return _table(header.ModalityLUTSequence[0], header, signed=header.PixelRepresentation == 1)[0]
    slope, intercept = _number(header, "RescaleSlope"), _number(header, "RescaleIntercept")
    line = (1.0 if slope is None else slope, 0.0 if intercept is None else intercept)
    if not all(map(math.isfinite, line)) or line[0] == 0:
        raise BadInput("the rescale slope or intercept is not a usable number, expected finite ones and a slope not 0")
    return line


def _voi_table(header: Dataset) -> Curve | None:
    sequence = header.get("VOILUTSequence")
    if not sequence or "LUTDescriptor" not in sequence[0] or "LUTData" not in sequence[0]:
        return None
    offset = 0.0 if header.get("ModalityLUTSequence") else _number(header, "RescaleIntercept") or 0.0
    signed = offset < 0 or (header.PixelRepresentation == 1 and not header.get("ModalityLUTSequence"))
    curve, low, high = _table(sequence[0], header, signed=signed)
    span = max(high - low, 1.0)
    # the table's own ends are the ends of the display: writers declare 16 bits and fill 12
    return lambda values: (curve(values) - low) / span


def _table(item: Dataset, header: Dataset, *, signed: bool) -> tuple[Curve, float, float]:
    """A lookup table of either module as a function, and the ends of its output; `signed` is its input's."""
    entries, first, bits = (int(v) for v in item.LUTDescriptor)
    entries = entries or 65_536
    start = first - 65_536 if signed and first > 32_767 else first  # the descriptor itself may be written unsigned
    raw = item["LUTData"].value
    if isinstance(raw, (bytes, bytearray)):
        order = "<" if header.file_meta.TransferSyntaxUID.is_little_endian else ">"
        packed = bits <= 8 and len(raw) < 2 * entries  # one byte an entry, padded to an even length
        data = np.frombuffer(raw, np.uint8) if packed else np.frombuffer(raw[: len(raw) & ~1], f"{order}u2")
    else:
        data = np.atleast_1d(np.asarray(raw, dtype=np.int64))
    if len(data) < entries:
        raise BadInput(f"a lookup table holds {len(data)} entries, its descriptor says {entries}")
    data = data[:entries].astype(np.float64)

    def curve(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return data[np.clip(np.rint(values) - start, 0, entries - 1).astype(np.int64)]

    return curve, float(data.min()), float(data.max())


def _window(header: Dataset) -> Curve | Line | None:
    """The first window, or None where there is none that can be used."""
    center, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    if center is None or width is None or not math.isfinite(center) or not math.isfinite(width):
        return None
    function = str(header.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function == "SIGMOID" and width > 0:
        # the exponent is limited so that far values reach 0 and 1 instead of an overflow
        return lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -80, 80)))
    if function == "LINEAR_EXACT" and width > 0:
        return 1 / width, 0.5 - center / width
    if function == "LINEAR" and width > 1:
        return 1 / (width - 1), 0.5 - (center - 0.5) / (width - 1)
    if function == "LINEAR" and width == 1:
        return lambda values: (values > center - 0.5).astype(np.float64)
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise BadInput("the VOI LUT function is unknown, expected LINEAR, LINEAR_EXACT or SIGMOID")
    return None


def _percentiles(stored: np.ndarray, padding: NDArray[np.bool_] | None, modality: Curve | Line) -> Line:
    """The line that maps the 0.5 and 99.5 percentiles of the pixels that are not padding to 0 and 1.

    Large pictures are sampled on a grid: the error of a percentile from 65,536 pixels is far below one grey level.
    """
    step = max(1, math.isqrt(stored.size // SAMPLES))
    sample, skip = stored[::step, ::step], None if padding is None else padding[::step, ::step]
    values = sample.ravel() if skip is None else sample[~skip]
    if not values.size or values.min() == values.max():
        values = stored.ravel() if padding is None else stored[~padding]
    if isinstance(modality, tuple):  # a quantile of integers is cheap, the line can follow
        ends = np.quantile(values, (0.005, 0.995)) * modality[0] + modality[1]
    else:
        ends = np.quantile(modality(values.astype(np.float64)), (0.005, 0.995))
    low, high = sorted(map(float, ends))
    if low == high:
        mapped = values * modality[0] + modality[1] if isinstance(modality, tuple) else modality(values.astype(float))
        low, high = float(mapped.min()), float(mapped.max())
    if low == high:
        raise BadInput("all pixels have one value, expected a picture")
    return 1 / (high - low), -low / (high - low)


def _table_of_chain(stored: np.ndarray, modality: Curve | Line, voi: Curve | Line, inverted: bool) -> Pixels:
    """The whole chain as one table over the unsigned bits of a stored value, up to the largest that occurs."""
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    size = int(stored.max()) + 1 if stored.dtype.kind == "u" else 1 << 8 * stored.dtype.itemsize
    values = np.arange(size).astype(unsigned).view(stored.dtype).astype(np.float64)
    for step in (modality, voi):
        values = values * step[0] + step[1] if isinstance(step, tuple) else step(values)
    values = np.clip(values, 0, 1)
    return (1 - values if inverted else values).astype(np.float32)
