from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian

from medal.errors import BadInput
from modalities.chest_xray.luts import film_of, stretched

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def displayed(stored: np.ndarray, header: Dataset) -> np.ndarray:
    return film_of(stored, header).shown()


def header_of(photometric: str = "MONOCHROME2", **tags: Any) -> Dataset:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.PhotometricInterpretation = photometric
    header.BitsStored, header.PixelRepresentation = 12, 0
    for keyword, value in tags.items():
        setattr(header, keyword, value)
    return header


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("rescale", [(1, 0), (2.5, -1024)])
def test_windows_agree_with_pydicom(function: str, rescale: tuple[float, float]):
    slope, intercept = rescale
    header = header_of(
        WindowCenter=1500, WindowWidth=900, VOILUTFunction=function, RescaleSlope=slope, RescaleIntercept=intercept
    )
    theirs = apply_voi_lut(apply_modality_lut(RAMP, header), header)
    low, high = intercept, 4095 * slope + intercept  # pydicom maps a window to the range that the stored bits can have
    np.testing.assert_allclose(displayed(RAMP, header), (theirs - low) / (high - low), atol=2e-6)


def test_linear_window_by_hand():
    # PS3.3 C.11.2.1.2.1, c = 2048, w = 4096: y = (x - 2047.5) / 4095 + 0.5 = x / 4095
    shown = displayed(RAMP, header_of(WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_allclose(shown, RAMP / 4095, atol=1e-6)


def test_window_of_width_one_is_a_threshold():
    shown = displayed(RAMP, header_of(WindowCenter=1000, WindowWidth=1))
    np.testing.assert_array_equal(shown, RAMP >= 1000)  # x > c - 0.5


def test_first_of_several_windows_is_used():
    one = displayed(RAMP, header_of(WindowCenter=1000, WindowWidth=500))
    two = displayed(RAMP, header_of(WindowCenter=[1000, 3000], WindowWidth=[500, 50]))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("window", [{}, {"WindowCenter": "", "WindowWidth": ""}, {"WindowCenter": 9, "WindowWidth": 0}])
def test_without_a_usable_window_percentiles_are_the_ends(window: dict):
    low, high = np.quantile(RAMP, (0.005, 0.995))
    expected = np.clip((RAMP - low) / (high - low), 0, 1)
    np.testing.assert_allclose(displayed(RAMP, header_of(**window)), expected, atol=1e-6)
    np.testing.assert_allclose(stretched(RAMP).shown(), expected, atol=1e-6)


def test_percentiles_of_a_large_picture_come_from_a_grid():
    rng = np.random.default_rng(0)
    large = rng.integers(0, 4096, (1024, 1024), dtype=np.uint16)
    low, high = np.quantile(large, (0.005, 0.995))
    np.testing.assert_allclose(stretched(large).shown(), np.clip((large - low) / (high - low), 0, 1), atol=3e-3)


def test_a_picture_that_is_nearly_constant_falls_back_to_its_extremes():
    pixels = np.full((100, 100), 7, dtype=np.uint16)
    pixels[3, 4] = 9
    shown = displayed(pixels, header_of())
    assert (shown[3, 4], shown[0, 0]) == (1, 0)


def test_voi_table_agrees_with_pydicom(lookup_table):
    entries = np.round(60_000 * np.linspace(0, 1, 2000) ** 2).astype(np.uint16)
    header = header_of(VOILUTSequence=[lookup_table(entries, first=700)])
    theirs = apply_voi_lut(RAMP, header)
    np.testing.assert_allclose(displayed(RAMP, header), theirs / 60_000, atol=1e-6)


def test_voi_table_wins_over_the_window(lookup_table):
    table = lookup_table(np.arange(4096)[::-1])
    shown = displayed(RAMP, header_of(VOILUTSequence=[table], WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_allclose(shown, 1 - RAMP / 4095, atol=1e-6)


def test_table_of_eight_bits_does_not_wrap_at_256(lookup_table):
    table = lookup_table(np.arange(4096) // 16, bits=8)
    shown = displayed(RAMP, header_of(VOILUTSequence=[table]))
    np.testing.assert_allclose(shown, (RAMP // 16) / 255, atol=1e-6)


def test_table_packed_as_bytes(lookup_table):
    item = lookup_table(np.zeros(4096), bits=8)
    item.LUTData = (np.arange(4096) // 16).astype(np.uint8).tobytes()
    np.testing.assert_allclose(displayed(RAMP, header_of(VOILUTSequence=[item])), (RAMP // 16) / 255, atol=1e-6)


def test_table_that_fills_12_of_its_16_bits_spans_the_display(lookup_table):
    table = lookup_table(np.arange(4096), bits=16)
    assert displayed(RAMP, header_of(VOILUTSequence=[table])).max() == 1


def test_modality_table_agrees_with_pydicom(lookup_table):
    entries = np.round(4000 * np.linspace(0, 1, 3000) ** 0.5).astype(np.uint16)
    header = header_of(ModalityLUTSequence=[lookup_table(entries, first=500)], WindowCenter=2000, WindowWidth=4000)
    modality = apply_modality_lut(RAMP.astype(np.int32), header).astype(float)
    expected = np.clip((modality - 1999.5) / 3999 + 0.5, 0, 1)
    np.testing.assert_allclose(displayed(RAMP, header), expected, atol=1e-6)


def test_first_value_of_a_table_is_signed_after_a_negative_intercept(lookup_table):
    table = lookup_table(np.arange(4096), first=65_536 - 1024)  # -1024, written as US
    header = header_of(VOILUTSequence=[table], RescaleSlope=1, RescaleIntercept=-1024)
    np.testing.assert_allclose(displayed(RAMP, header), RAMP / 4095, atol=1e-6)


@pytest.mark.parametrize("width", [1, 2])
def test_signed_pixels(width: int, lookup_table):
    info = np.iinfo(f"i{width}")
    signed = np.linspace(info.min, info.max, 256).astype(f"i{width}").reshape(16, 16)
    span = float(info.max - info.min)
    expected = (signed.astype(float) - info.min) / span
    exact: dict[str, Any] = {"WindowCenter": 0, "WindowWidth": span, "VOILUTFunction": "LINEAR_EXACT"}
    table: dict[str, Any] = {"VOILUTSequence": [lookup_table(np.arange(int(span) + 1), first=int(info.min))]}
    for tags in exact, table:
        shown = displayed(signed, header_of(PixelRepresentation=1, BitsStored=8 * width, **tags))
        np.testing.assert_allclose(shown, expected, atol=0.5 / span + 1e-6)


def test_negative_slope_turns_the_values_before_the_window():
    header = header_of(RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096)
    np.testing.assert_allclose(displayed(RAMP, header), 1 - RAMP / 4095, atol=1e-6)


@pytest.mark.parametrize(
    "tags",
    [
        {"photometric": "MONOCHROME1"},
        {"photometric": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"photometric": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"},
        {"photometric": "MONOCHROME2", "PresentationLUTShape": "INVERSE"},
    ],
)
def test_inversion_happens_once(tags: dict):
    straight = displayed(RAMP, header_of(WindowCenter=2048, WindowWidth=4096, PresentationLUTShape="IDENTITY"))
    turned = displayed(RAMP, header_of(WindowCenter=2048, WindowWidth=4096, **tags))
    np.testing.assert_allclose(turned, 1 - straight, atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "padding",
    [{"PixelPaddingValue": 60_000}, {"PixelPaddingValue": 59_990, "PixelPaddingRangeLimit": 60_010}],
)
def test_padding_is_black_and_outside_the_statistics(photometric: str, padding: dict):
    padded = np.vstack([RAMP, np.full((32, 64), 60_000, dtype=np.uint16)])
    shown = displayed(padded, header_of(photometric, **padding))
    np.testing.assert_allclose(shown[:64], displayed(RAMP, header_of(photometric)), atol=1e-6)
    assert (shown[64:] == 0).all()


def test_padding_is_known_by_its_stored_value():
    pixels = RAMP.astype(np.int16)
    pixels[0, :] = -2000
    tags: dict[str, Any] = {"RescaleSlope": 2, "RescaleIntercept": 9000, "WindowCenter": 9000, "WindowWidth": 18_000}
    header = header_of(PixelRepresentation=1, **tags)
    assert (displayed(pixels, header) > 0).all()
    header.add_new(0x00280120, "US", 65_536 - 2000)  # -2000, written as US
    shown = displayed(pixels, header)
    assert (shown[0] == 0).all()
    assert (shown[1:] > 0).all()


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"WindowCenter": 1, "WindowWidth": 5, "VOILUTFunction": "CUBIC"}, "VOI LUT function is unknown"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "rescale slope or intercept"),
        ({"RescaleSlope": "nan"}, "rescale slope or intercept"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
def test_unusable_tags_are_refused(tags: dict, message: str):
    with pytest.raises(BadInput, match=message):
        displayed(RAMP, header_of(**tags))


def test_table_shorter_than_declared_is_refused(lookup_table):
    item = lookup_table(np.arange(100))
    item.LUTDescriptor = [4096, 0, 16]
    with pytest.raises(BadInput, match="holds 100 entries, its descriptor says 4096"):
        displayed(RAMP, header_of(VOILUTSequence=[item]))


def test_pictures_without_content_are_refused():
    flat = np.full((8, 8), 5, dtype=np.uint16)
    with pytest.raises(BadInput, match="all pixels have one value"):
        displayed(flat, header_of())
    with pytest.raises(BadInput, match="every pixel has the padding value"):
        displayed(flat, header_of(PixelPaddingValue=5))
