from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from medal.errors import BadInput
from modalities.chest_xray.tags import age, body_part, born, called, check_chest, patient, sex, view

CHEST = ("CHEST", "THORAX", "")


def header_of(**tags) -> Dataset:
    header = Dataset()
    for keyword, value in tags.items():
        setattr(header, keyword, value)
    return header


def coded(value: str, meaning: str = "") -> Dataset:
    return header_of(ViewCodeSequence=[header_of(CodeValue=value, CodeMeaning=meaning)])


@pytest.mark.parametrize(
    ("stated", "expected"),
    [("PA", "PA"), ("AP ", "AP"), ("LL", "LATERAL"), ("RL", "LATERAL"), ("LATERAL", "LATERAL"), ("LLD", ""), ("", "")],
)
def test_view_position(stated: str, expected: str):
    assert view(header_of(ViewPosition=stated)) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (coded("R-10206"), "AP"),
        (coded("R-10214"), "PA"),
        (coded("272479007"), "PA"),
        (coded("399173006"), "LATERAL"),
        (coded("private", "Postero-Anterior"), "PA"),
        (coded("private", "antero-posterior oblique"), ""),
        (coded("private"), ""),
        (header_of(SeriesDescription="view: PA"), "PA"),
        (header_of(SeriesDescription="Thorax a.p. liegend"), ""),
        (header_of(SeriesDescription="CHEST_AP_PORTABLE"), "AP"),
        (header_of(SeriesDescription="W033 Chest LAT"), "LATERAL"),
        (header_of(SeriesDescription="Chest PA and lateral"), ""),
        (header_of(SeriesDescription="lateral decubitus"), ""),
        (header_of(SeriesDescription="Papadopoulos"), ""),
        (header_of(SeriesDescription="Thorax seitlich"), "LATERAL"),
        (header_of(SeriesDescription="RX torax perfil"), "LATERAL"),
        (header_of(SeriesDescription="radiographie latérale"), "LATERAL"),
        (header_of(SeriesDescription="Thorax", ProtocolName="CHEST LAT"), "LATERAL"),
        (header_of(ProtocolName="CHEST PA", AcquisitionDeviceProcessingDescription="CHEST,LAT"), "PA"),
        (header_of(AcquisitionDeviceProcessingDescription="CHEST,LAT"), "LATERAL"),
        (header_of(PatientOrientation=["A", "F"]), "LATERAL"),
        (header_of(PatientOrientation=["P", "FR"]), "LATERAL"),
        (header_of(PatientOrientation=["A", "F"], SeriesDescription="Chest PA"), "LATERAL"),
        (header_of(PatientOrientation=["A", "L"]), ""),
        (header_of(PatientOrientation=["L", "F"]), ""),
        (header_of(PatientOrientation=["A"]), ""),
        (header_of(PatientOrientation=""), ""),
        (header_of(), ""),
    ],
)
def test_view_falls_back_to_the_code_and_then_to_the_description(header: Dataset, expected: str):
    assert view(header) == expected


def test_view_position_wins_over_the_code_and_the_code_over_the_description():
    header = coded("R-10206")
    header.SeriesDescription = "LAT"
    assert view(header) == "AP"
    header.PatientOrientation = ["A", "F"]
    assert view(header) == "AP"
    header.ViewPosition = "PA"
    assert view(header) == "PA"
    header.ViewPosition = "ANT"  # not a chest projection: the next tag is asked
    assert view(header) == "AP"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [("062Y", "62"), ("62", "62"), ("011M", "0"), ("012M", "1"), ("104W", "1"), ("105W", "2"), ("005D", "0"), ("", "")],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
def test_age_in_whole_years(stored: str, expected: str):
    assert age(header_of(PatientAge=stored)) == expected


@pytest.mark.parametrize(("stored", "expected"), [("M", "M"), ("F", "F"), ("O", ""), ("", "")])
def test_sex(stored: str, expected: str):
    assert sex(header_of(PatientSex=stored)) == expected


def test_missing_tags_are_empty_text():
    assert (sex(Dataset()), age(Dataset()), view(Dataset()), body_part(Dataset())) == ("", "", "", "")


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("stated", ["CHEST", "thorax", "PORT CHEST", "CHEST_PA", "", None])
def test_chests_are_accepted(stated: str | None):
    header = header_of(Modality="DX")
    if stated is not None:
        header.BodyPartExamined = stated
    check_chest(header, CHEST)


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize(("stated", "named"), [("KNEE", "KNEE"), ("L KNEE", "KNEE"), ("MILLER", "unknown")])
def test_other_body_parts_are_refused_and_named_only_by_words_of_the_standard(stated: str, named: str):
    with pytest.raises(BadInput, match=f"body part {named}, not chest; accepted: CHEST or THORAX or none stated"):
        check_chest(header_of(BodyPartExamined=stated), CHEST)


def test_a_missing_body_part_is_refused_where_it_must_be_stated():
    with pytest.raises(BadInput, match="body part missing, not chest; accepted: CHEST"):
        check_chest(Dataset(), ("CHEST",))


def test_a_slice_of_the_chest_is_no_radiograph():
    with pytest.raises(BadInput, match="modality CT, not a radiograph"):
        check_chest(header_of(Modality="CT", BodyPartExamined="CHEST"), CHEST)
    with pytest.raises(BadInput, match="modality unknown"):
        check_chest(header_of(Modality="MILLER"), CHEST)


def test_free_text_about_a_view_gives_a_view_or_nothing() -> None:
    from modalities.chest_xray.tags import view_in_text

    assert view_in_text("pa") == "PA"
    assert view_in_text("Jane Doe, room 12") == ""


@pytest.mark.parametrize(
    "word", ["", " ", "ANON", "anonymous", "De-Identified", "N/A", "xxxx", "X", "---", "Patient ID", "no_id", "TEST"]
)
def test_what_anonymisers_write_is_no_number(word: str):
    assert patient(header_of(PatientID=word)) == ""


@pytest.mark.parametrize("number", ["0", "1", "MRN 77", "ANON001", "X1", "NA12", "TESTA"])
def test_numbers_stay_as_they_are(number: str):
    assert patient(header_of(PatientID=number)) == number


@pytest.mark.parametrize(("stored", "expected"), [("19570213", "19570213"), ("195702", ""), ("", "")])
@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
def test_birth_dates_are_whole_or_nothing(stored: str, expected: str):
    assert born(header_of(PatientBirthDate=stored)) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("DOE^JANE", "Doe^Jane^Ann^Dr"),
        ("O'Hara^Ed", "OHARA^ED"),
        ("Müller^Ö", "Muller^O"),
        ("Yamada^Taro=山田^太郎", "YAMADA^TARO"),
    ],
)
def test_spellings_of_one_name_agree(one: str, other: str):
    assert called(header_of(PatientName=one)) == called(header_of(PatientName=other)) != ""


def test_other_names_differ_and_signs_alone_are_none():
    assert called(header_of(PatientName="Doe^Jane")) != called(header_of(PatientName="Doe^Joan"))
    assert called(header_of(PatientName="^^")) == called(Dataset()) == ""
