from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from medal.errors import BadInput, ConfigError
from modalities.chest_xray.luts import film_of
from modalities.chest_xray.reader import is_image, read_xray

FULL = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}

# mean and standard deviation at 224 pixels, recorded after each picture was looked at: bones bright, lungs dark
GOLDEN = {
    "cr_chest_philips_1955x1841_j2k.dcm": (0.7099, 0.2293, "F", "", "PA", "CHEST", False),
    "cr_chest_fuji_440_mono1.dcm": (0.5466, 0.1566, "", "", "PA", "CHEST", False),
    "cr_chest_1024_jpeg_mono2.dcm": (0.6652, 0.2334, "M", "62", "PA", "CHEST", True),
    "cr_chest_1024_jpeg_fake_mono1.dcm": (0.3344, 0.2333, "M", "62", "PA", "CHEST", False),
    "cr_extremity_fuji_1760_j2k.dcm": (0.6961, 0.3593, "F", "", "AP", "EXTREMITY", False),
    "cr_hip_fuji_2140x1760_j2k.dcm": (0.3624, 0.3430, "M", "", "", "HIP", False),
}


@pytest.fixture
def cr(real_data: Path) -> Path:
    return real_data / "chest_xray" / "dicom_cr"


@pytest.mark.parametrize("name", GOLDEN)
def test_real_files(cr: Path, name: str):
    mean, std, *tags = GOLDEN[name]
    xray = read_xray(cr / name, 224, body_parts=None)
    assert xray.pixels.shape == (224, 224)
    assert xray.pixels.dtype == np.float32
    assert 0 <= xray.pixels.min() <= xray.pixels.max() <= 1
    assert xray.pixels.mean() == pytest.approx(mean, abs=1e-3)
    assert xray.pixels.std() == pytest.approx(std, abs=1e-3)
    assert [xray.sex, xray.age, xray.view, xray.body_part, xray.burned_in] == tags
    assert xray.uid == dcmread(cr / name, stop_before_pixels=True).SOPInstanceUID


def test_chests_are_accepted_and_the_knee_and_the_hip_are_refused(cr: Path):
    with (cr / "labels.csv").open() as table:
        for row in csv.DictReader(table):
            if row["is_chest"] == "1":
                assert read_xray(cr / row["file"], 64).body_part == "CHEST"
            else:
                with pytest.raises(BadInput, match=f"body part {row['body_part']}, not chest"):
                    read_xray(cr / row["file"], 64)


@pytest.mark.parametrize("name", ["cr_chest_philips_1955x1841_j2k.dcm", "cr_chest_fuji_440_mono1.dcm"])
def test_the_field_of_the_lungs_is_darker_than_the_spine(cr: Path, name: str):
    pixels = read_xray(cr / name, 100).pixels
    spine, lungs = pixels[20:45, 48:53].mean(), np.concatenate([pixels[20:45, 22:34], pixels[20:45, 66:78]]).mean()
    assert spine > lungs + 0.1


def test_a_wrong_photometric_tag_turns_the_picture_exactly(cr: Path):
    shown = []
    for name in "cr_chest_1024_jpeg_mono2.dcm", "cr_chest_1024_jpeg_fake_mono1.dcm":
        file = dcmread(cr / name)
        shown.append(film_of(file.pixel_array, file).shown())
    np.testing.assert_allclose(shown[1], 1 - shown[0], atol=1e-6)
    one = read_xray(cr / "cr_chest_1024_jpeg_mono2.dcm", 224).pixels
    two = read_xray(cr / "cr_chest_1024_jpeg_fake_mono1.dcm", 224).pixels
    # the marker is bright in one of them only, and masked there
    assert (np.abs(one + two - 1) < 1e-5).mean() > 0.98


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_real_jpeg_and_its_dicom_twin_give_the_same_pixels(real_data: Path, write_dicom, photometric: str):
    # window c = 128, w = 256 on 8 bits: y = (x - 127.5) / 255 + 0.5 = x / 255, so that nothing is lost on the way;
    # 255 - x keeps the same window, as 256 - c = 128
    folder = real_data / "chest_xray" / "nih_chestxray14_subset" / "images"
    files = sorted(folder.glob("*.jpg"))[::50]
    assert len(files) == 20
    for file in files:
        grey = np.asarray(Image.open(file).convert("L"))
        stored = 255 - grey if photometric == "MONOCHROME1" else grey
        twin = write_dicom(stored, WindowCenter=128, WindowWidth=256, PhotometricInterpretation=photometric)
        one, two = read_xray(file, 224), read_xray(twin, 224)
        np.testing.assert_allclose(one.pixels, two.pixels, atol=1e-5)
        assert one.burned_in == two.burned_in


def test_tags_are_handed_on(write_dicom, film):
    path = write_dicom(film, PatientSex="F", PatientAge="041Y", ViewPosition="AP", BodyPartExamined="CHEST", **FULL)
    xray = read_xray(path, 32)
    assert (xray.uid, xray.patient, xray.exam) == ("1.2.3.4", "MRN0815", "1.2.3")
    assert (xray.sex, xray.age, xray.view, xray.body_part) == ("F", "41", "AP", "CHEST")
    assert xray.burned_in is False


def test_missing_tags_are_empty(write_dicom, film):
    path = write_dicom(film, Modality=None, PatientID=None, StudyInstanceUID=None, SOPInstanceUID=None, **FULL)
    xray = read_xray(path, 32)
    assert (xray.uid, xray.patient, xray.exam, xray.sex, xray.age, xray.view, xray.body_part) == ("",) * 7


def test_burned_in_is_taken_from_the_tag_or_found(write_dicom, film):
    assert read_xray(write_dicom(film, BurnedInAnnotation="YES", **FULL), 32).burned_in
    large = np.kron(film, np.ones((4, 4), np.uint16))
    large[10:20, 10:16] = 4095
    assert read_xray(write_dicom(large, BurnedInAnnotation="NO", **FULL), 32).burned_in


def test_the_first_bytes_decide_and_not_the_name(tmp_path: Path, write_dicom, film):
    picture = tmp_path / "picture.dcm"
    Image.fromarray((film // 16).astype(np.uint8)).save(picture, "PNG")
    assert read_xray(picture, 32).uid == ""
    dicom = write_dicom(film, "radiograph.png", **FULL)
    assert read_xray(dicom, 32).uid == "1.2.3.4"


@pytest.mark.parametrize(
    ("name", "message"), [("a.png", "neither PNG nor JPEG"), ("a.dcm", "no DICM"), ("a", "no DICM")]
)
def test_text_is_refused_by_the_reader_that_its_name_asks_for(tmp_path: Path, name: str, message: str):
    (tmp_path / name).write_text("Doe^Jane")
    with pytest.raises(BadInput, match=message) as caught:
        read_xray(tmp_path / name, 32)
    assert caught.value.path == tmp_path / name
    assert "Doe" not in caught.value.reason


def test_folders_and_missing_files_are_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="a folder"):
        read_xray(tmp_path, 32)
    with pytest.raises(BadInput, match="does not exist"):
        read_xray(tmp_path / "a.dcm", 32)


def test_size_must_be_positive(tmp_path: Path):
    with pytest.raises(ConfigError, match="is 0, expected at least 1"):
        read_xray(tmp_path / "a.dcm", 0)


def test_is_image(tmp_path: Path, write_dicom, film):
    def put(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    for name in "broken.dcm", "broken.DICOM", "a.png", "a.JPG", "a.jpeg":
        assert is_image(put(name, b"nothing"))
    assert is_image(write_dicom(film, "IM0001"))
    assert is_image(put("png without suffix", b"\x89PNG\r\n\x1a\n"))
    (tmp_path / "folder.dcm").mkdir()
    (tmp_path / "empty").touch()
    for path in put("notes.txt", b"text"), put("._a.dcm", b"x"), write_dicom(film, "DICOMDIR"):
        assert not is_image(path)
    for name in "folder.dcm", "empty", "missing.dcm":
        assert not is_image(tmp_path / name)
