"""A hospital's folder as it comes: laterals, exams of several images, lost and shared numbers, labels that exist."""

from __future__ import annotations

import csv
import io
import logging
import math
from pathlib import Path

import pytest
import torch
from hospital import Hospital, make_hospital
from PIL import Image

from medal.errors import BadTable, EmptySource, UnknownName
from medal.source import Opened
from medal.split import split_by_group
from modalities.chest_xray import Folder
from modalities.chest_xray.image_source import ImageSource


@pytest.fixture(autouse=True)
def private(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("private")
    monkeypatch.setenv("MEDAL_PRIVATE", str(folder))
    return folder


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    return make_hospital(tmp_path_factory.mktemp("hospital"), patients=15)


def opened(hospital: Hospital, cache: Path, **more) -> Opened:
    return Folder(hospital.folder, **{"size": 32, "findings": hospital.findings, "workers": 1, **more}).open(cache)


def source_in(hospital: Hospital, cache: Path, **more) -> ImageSource:
    source = opened(hospital, cache, **more).source
    assert isinstance(source, ImageSource)
    return source


def test_laterals_are_told_left_out_and_counted(hospital: Hospital, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        source = source_in(hospital, tmp_path)
    names = hospital.pseudonyms()
    laterals = {names[path] for path, view in hospital.views.items() if view == "LATERAL"}
    assert len(laterals) == hospital.counts["laterals"] >= 5
    assert set(source.left_out) == laterals
    assert set(source.ids) == set(names.values()) - laterals
    assert not set(source.left_out) & set(source.quarantined)
    assert {"lateral view; set data.views=all to keep it"} == set(source.left_out.values())
    every = len(names)
    assert f"{len(laterals)} of {every} images are laterals and are left out of the pool" in source.notes
    assert "images are laterals" in caplog.text
    unstated = hospital.counts["unstated"]
    assert f"{unstated} of {every - len(laterals)} images do not say their view and stay in the pool" in source.notes
    assert source.meta["view"].count("") == unstated


def test_all_views_can_be_kept(hospital: Hospital, tmp_path: Path):
    source = source_in(hospital, tmp_path, views="all")
    assert set(source.ids) == set(hospital.pseudonyms().values())
    assert not source.left_out
    view = dict(zip(source.ids, source.meta["view"], strict=True))
    assert {path: view[name] for path, name in hospital.pseudonyms().items()} == hospital.views
    with pytest.raises(UnknownName, match="did you mean 'frontal'"):
        opened(hospital, tmp_path, views="frontals")


def test_a_folder_of_laterals_alone_says_so(hospital: Hospital, tmp_path: Path):
    (tmp_path / "side").mkdir()
    path = next(path for path, view in hospital.views.items() if view == "LATERAL")
    (tmp_path / "side" / "a.dcm").write_bytes((hospital.folder / path).read_bytes())
    with pytest.raises(EmptySource, match=r"all 1 images that can be read are laterals; set data\.views=all"):
        Folder(tmp_path / "side", findings=["Edema"], size=32).open(tmp_path / "cache")


def test_images_of_an_exam_share_it_and_their_part_of_the_split(hospital: Hospital, tmp_path: Path):
    source = source_in(hospital, tmp_path, views="all")
    names = hospital.pseudonyms()
    exam = dict(zip(source.ids, source.meta["exam"], strict=True))
    group = dict(zip(source.ids, source.groups, strict=True))
    assert all(name.startswith("E") for name in exam.values())
    for one in names:
        for other in names:
            same = hospital.exams[one] == hospital.exams[other]
            assert (exam[names[one]] == exam[names[other]]) is same
            assert not same or group[names[one]] == group[names[other]]
    for seed in range(5):
        split = split_by_group(source.ids, source.groups, seed, test=0.3, validation=0.3)
        part = dict(zip(split.rows, split.parts, strict=True))
        for column in (hospital.exams, hospital.people):
            parts: dict[str, set[str]] = {}
            for path, name in names.items():
                parts.setdefault(column[path], set()).add(part[name])
            assert all(len(found) == 1 for found in parts.values())


def test_lost_and_shared_numbers_are_told_without_a_name(
    hospital: Hospital, tmp_path: Path, private: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.DEBUG):
        source = source_in(hospital, tmp_path)
    text = "\n".join(source.notes)
    assert f"{hospital.counts['without_number']} of {len(hospital.truth)} images name no patient" in text
    assert "1 number of a patient stands with different birth dates or sexes" in text
    shown = text + caplog.text + repr((source.meta, source.groups, source.left_out, source.quarantined))
    for path in tmp_path.rglob("*"):
        shown += path.name + (path.read_bytes().decode("latin-1") if path.is_file() else "")
    assert [secret for secret in hospital.secrets if secret in shown] == []
    (table,) = private.glob("patients-folder-*.csv")
    assert table.name in text
    assert table.stat().st_mode & 0o077 == 0
    with table.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    shared = [row for row in rows if row["problem"] == "several people"]
    assert len({row["birth_date"] for row in shared}) == 2
    assert len({row["patient_id"] for row in shared}) == 1
    lost = [row for row in rows if row["problem"] == "no number"]
    assert {row["patient_id"] for row in lost} == {""}
    assert {Path(row["file"]).parent.parent.name for row in lost} == {"Oddlestone03"}


def test_the_tables_numbers_stand_where_every_file_says_anon(tmp_path: Path):
    hospital = make_hospital(tmp_path / "hospital", patients=10, anonymous=True)
    source = source_in(hospital, tmp_path / "cache", views="all")
    names = hospital.pseudonyms()
    group = dict(zip(source.ids, source.groups, strict=True))
    assert len(set(source.groups)) == 10
    assert {(hospital.people[path], group[name]) for path, name in names.items()} == {
        (person, group[names[path]]) for path, person in hospital.people.items()
    }
    assert any("the table's column patient_id names the patients" in note for note in source.notes)
    alone = source_in(hospital, tmp_path / "cache", views="all", patient="dicom")
    assert len(set(alone.groups)) == hospital.counts["exams"], "each exam is a patient of its own"


def test_labels_that_the_clinic_has_are_the_truth_of_their_cells(hospital: Hospital, tmp_path: Path):
    opening = opened(hospital, tmp_path)
    assert opening.truth is not None
    assert opening.truth.labels == opening.source.labels == hospital.findings
    names = {name: path for path, name in hospital.pseudonyms().items()}
    cells = 0
    for name, row in zip(opening.source.ids, opening.truth.values.tolist(), strict=True):
        for finding, value in zip(hospital.findings, row, strict=True):
            if not math.isnan(value):
                assert value == hospital.truth[names[name]][finding]
                cells += 1
    assert cells == hospital.counts["cells"]


def test_columns_that_are_no_findings_are_not_looked_at(hospital: Hospital, tmp_path: Path):
    whole = opened(hospital, tmp_path)
    some = opened(hospital, tmp_path, findings=["Effusion", "Cardiomegaly"])
    assert whole.truth is not None
    assert some.truth is not None
    columns = [hospital.findings.index(name) for name in some.truth.labels]
    assert torch.equal(some.truth.values.nan_to_num(9), whole.truth.values[:, columns].nan_to_num(9))
    taken = opened(hospital, tmp_path, findings=None)
    assert taken.source.labels == hospital.findings, "reader, date and comment are never findings"


def test_a_text_column_of_another_name_needs_the_list_of_findings(hospital: Hospital, tmp_path: Path):
    text = (hospital.folder / "labels.csv").read_text().replace("comment", "ward")
    (tmp_path / "other.csv").write_text(text)
    table = str(tmp_path / "other.csv")
    assert opened(hospital, tmp_path / "cache", labels=table).truth is not None
    with pytest.raises(BadTable, match=r"column 'ward': a text of 16 characters.*or name the columns of findings"):
        opened(hospital, tmp_path / "cache", labels=table, findings=None)


def test_the_table_may_lie_anywhere_and_must_exist_where_it_is_named(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "ours.csv").write_text((hospital.folder / "labels.csv").read_text())
    monkeypatch.chdir(tmp_path)
    inside, outside = (opened(hospital, tmp_path / "cache", labels=x) for x in ("labels.csv", "tables/ours.csv"))
    assert inside.truth is not None
    assert outside.truth is not None
    assert torch.equal(inside.truth.values.nan_to_num(9), outside.truth.values.nan_to_num(9))
    with pytest.raises(BadTable, match=r"the table our\.csv is neither in data\.root nor where data\.labels says"):
        opened(hospital, tmp_path / "cache", labels="tables/our.csv")
    assert opened(hospital, tmp_path / "cache", labels=None).truth is None


def test_images_that_arrive_later_move_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from modalities.chest_xray import store

    small, large = (make_hospital(tmp_path / name, patients=count) for name, count in (("a", 8), ("b", 12)))
    cache = tmp_path / "cache"
    before = source_in(small, cache)
    for path in large.truth:
        if path not in small.truth:
            (small.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (small.folder / path).write_bytes((large.folder / path).read_bytes())
    read: list[str] = []
    real = store.read_all

    def counted(jobs, workers):
        read.extend(job.path.relative_to(small.folder).as_posix() for job in jobs)
        return real(jobs, workers)

    monkeypatch.setattr(store, "read_all", counted)
    after = source_in(small, cache)
    assert sorted(set(read) - {"Zyxwold/torn.dcm"}) == sorted(set(large.truth) - set(small.truth))
    assert set(before.ids) < set(after.ids)
    was, now = (dict(zip(s.ids, zip(s.groups, s.meta["exam"], strict=True), strict=True)) for s in (before, after))
    assert all(now[name] == was[name] for name in was)
    fresh = source_in(small, tmp_path / "fresh")
    assert (fresh.ids, fresh.groups, fresh.meta, fresh.digest, fresh.notes) == (
        *(after.ids, after.groups, after.meta, after.digest, after.notes),
    )
    assert (fresh.quarantined, fresh.left_out) == (after.quarantined, after.left_out)
    rows = range(len(fresh.ids))
    assert torch.equal(fresh.images(rows), after.images(rows))


def test_previews_are_large_where_nothing_is_written_on_the_image(hospital: Hospital, tmp_path: Path):
    source = source_in(hospital, tmp_path)
    sides = {Image.open(io.BytesIO(source.preview(row))).size[0] for row in range(3)}
    assert sides == {768}
