"""Whose an image is: numbers from file and table, placeholders, numbers that several people share."""

from __future__ import annotations

from pathlib import Path

import pytest

from medal.errors import UnknownName
from medal.identity import PUBLIC_KEY
from modalities.chest_xray.patients import Patients, Seen, patients_of
from modalities.chest_xray.register import Register
from modalities.chest_xray.store import Header, Item


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))
    return tmp_path / "private"


class Ward:
    """Writes images down one by one."""

    def __init__(self) -> None:
        self.register = Register(PUBLIC_KEY)
        self.images: list[Seen] = []

    def of(self, prefix: str, identity: str) -> str:
        return self.register.of(prefix, identity) if identity else ""

    def add(
        self, number: str = "", exam: str = "", table: str = "", born: str = "", sex: str = "", called: str = ""
    ) -> None:
        name = f"{len(self.images)}.dcm"
        header = Header(
            self.of("I", name),
            patient=self.of("P", number),
            exam=self.of("E", exam),
            born=self.of("B", born),
            called=self.of("N", called),
        )
        self.images.append(Seen(Item(Path(name), name), header, self.of("P", table), self.of("E", exam), sex))

    def decide(self, rule: str = "auto") -> Patients:
        return patients_of(self.images, self.register, rule)

    def number(self, identity: str) -> str:
        return self.register.pseudonym("P", identity)


def test_numbers_of_the_file_stand_and_nothing_is_odd():
    ward = Ward()
    for number in ("M1", "M1", "M2"):
        ward.add(number, exam=f"x{number}", born="19500101", sex="F", called="doe jane")
    patients = ward.decide()
    assert patients.groups == (ward.number("M1"), ward.number("M1"), ward.number("M2"))
    assert patients.notes == patients.details == ()


def test_the_table_fills_a_missing_number_and_does_not_overrule_one():
    ward = Ward()
    ward.add("M1", table="T1")
    ward.add("M2")
    ward.add("", table="M1")
    assert ward.decide().groups == (ward.number("M1"), ward.number("M2"), ward.number("M1"))


def test_without_a_number_an_exam_is_a_patient_and_without_an_exam_a_file():
    ward = Ward()
    ward.add("M1", "a")
    for exam in ("b", "b", "c", "", ""):
        ward.add("", exam)
    patients = ward.decide()
    groups = patients.groups
    assert groups[1] == groups[2]
    assert len(set(groups)) == 5
    assert any("3 of 6 images name no patient; their exams (2) count" in note for note in patients.notes)
    assert any("2 of 6 images name no patient; each counts" in note for note in patients.notes)
    assert [line[0] for line in patients.details] == ["no number"] * 3 + ["no number and no exam"] * 2


@pytest.mark.parametrize("told", [{"born": "19500101"}, {"sex": "F"}, {"table": "T9"}])
def test_one_number_for_people_who_differ_is_a_placeholder(told: dict[str, str]):
    ward = Ward()
    ward.add("X7", "a", **{"born": "19600101", "sex": "M", "table": "T1"} | told)
    ward.add("X7", "b", born="19600101", sex="M", table="T1")
    ward.add("X7", "c", born="19600101", sex="M", table="T1")
    patients = ward.decide()
    assert any("3 of 3 images carry one and the same PatientID" in note for note in patients.notes)
    assert ward.number("X7") not in patients.groups
    assert patients.groups[1] == ward.number("T1")
    kept = ward.decide("dicom")
    assert set(kept.groups) == {ward.number("X7")}


def test_one_number_for_all_of_whom_nothing_differs_is_one_patient():
    ward = Ward()
    for exam in "abc":
        ward.add("M1", exam, born="19500101", sex="F")
    patients = ward.decide()
    assert set(patients.groups) == {ward.number("M1")}
    assert patients.notes == ("all 3 images name the same patient, so that no split by patient is possible",)


def test_half_of_the_images_is_not_enough_for_a_placeholder():
    ward = Ward()
    for number, born in (("M1", "19500101"), ("M1", "19600101"), ("M2", ""), ("M3", "")):
        ward.add(number, born=born)
    patients = ward.decide()
    assert patients.groups[:2] == (ward.number("M1"),) * 2, "two people under one number: kept together"
    assert not any("placeholder" in note for note in patients.notes)


@pytest.mark.parametrize("zero", ["0", "000000"])
def test_zero_for_most_is_a_placeholder_and_zero_for_one_is_a_patient(zero: str):
    ward = Ward()
    for exam in "abc":
        ward.add(zero, exam)
    assert len(set(ward.decide().groups)) == 3
    ward = Ward()
    for number in (zero, "1", "2", "3"):
        ward.add(number, number)
    assert ward.decide().groups[0] == ward.number(zero)


def test_where_most_have_no_number_the_tables_numbers_stand_for_all():
    ward = Ward()
    ward.add("M1", "a", table="T1")
    ward.add("", "b", table="T1")
    ward.add("", "c", table="T2")
    ward.add("M4", "d")
    ward.add("", "e", table="T4")
    patients = ward.decide()
    assert patients.groups == tuple(ward.number(n) for n in ("T1", "T1", "T2", "M4", "T4"))
    assert any("names the patients of 4 of 5 images" in note for note in patients.notes)
    assert ward.decide("dicom").groups[0] == ward.number("M1")


def test_the_rule_table_takes_the_table_first():
    ward = Ward()
    ward.add("M1", table="T1")
    ward.add("M2")
    assert ward.decide("table").groups == (ward.number("T1"), ward.number("M2"))
    assert ward.decide("dicom").groups == (ward.number("M1"), ward.number("M2"))
    with pytest.raises(UnknownName, match="did you mean 'dicom'"):
        ward.decide("dicm")


def test_several_people_under_one_number_stay_together_and_are_told(private: Path):
    ward = Ward()
    ward.add("M1", "a", born="19500101", sex="F", called="doe jane")
    ward.add("M1", "b", born="19710203", sex="F", called="roe rita")
    ward.add("M2", "c", born="19500101", sex="F")
    ward.add("M2", "d", sex="M")
    for exam in "efgh":
        ward.add(f"M{exam}", exam)
    patients = ward.decide()
    assert patients.groups[:4] == (ward.number("M1"),) * 2 + (ward.number("M2"),) * 2
    (note,) = patients.notes
    assert note.startswith("2 numbers of patients stand with different birth dates or sexes")
    for secret in ("M1", "M2", "19500101", "1971", "doe", "rita"):
        assert secret not in note
    assert ("several people", "M1", "19710203", "roe rita") in {
        (line[0], line[5], line[6], line[8]) for line in patients.details
    }


def test_two_names_of_one_birth_date_are_only_asked_about():
    ward = Ward()
    ward.add("M1", "a", born="19500101", called="doe jane")
    ward.add("M1", "b", born="19500101", called="roe jane")
    ward.add("M2", "c", born="19500101", called="")
    ward.add("M2", "d", called="lee ann")
    ward.add("M3", "e")
    patients = ward.decide()
    (note,) = patients.notes
    assert "1 number of a patient stands with different names but the same birth date" in note
    assert {line[2] for line in patients.details} == {ward.number("M1")}


def test_the_order_of_the_images_changes_nobody():
    ward = Ward()
    for i in range(9):
        ward.add("" if i % 3 else "X", f"e{i // 2}", table=f"T{i // 2}" if i % 4 else "", sex="FM"[i % 2])
    forward = dict(zip((image.header.id for image in ward.images), ward.decide().groups, strict=True))
    ward.images.reverse()
    backward = dict(zip((image.header.id for image in ward.images), ward.decide().groups, strict=True))
    assert forward == backward
