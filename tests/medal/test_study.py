import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

import medal.storage
import medal.study
from medal.errors import LedgerBroken, StorageFull, StudyError, StudyVersion
from medal.ledger import Ledger
from medal.study import FORMAT, Study
from medal.weights import weights_hash

OPENED = {"medal": "0.1.0", "task": "chest_xray", "arm": "random", "seed": 3}
UNITS = [
    {"id": "I1", "group": "P1", "split": "pool", "sex": "F"},
    {"id": "I2", "group": "P2", "split": "test", "sex": ""},
]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    Study.create(tmp_path / "study", OPENED).close()
    return tmp_path / "study"


# --- making and opening


def test_create_then_open(tmp_path):
    with Study.create(tmp_path / "run" / "random-seed3", OPENED, UNITS) as study:
        assert study.opened == {**OPENED, "format": FORMAT}
        assert [e.kind for e in study.ledger.events()] == ["opened"]
        head = study.ledger.head()
    with Study.open(tmp_path / "run" / "random-seed3") as study:
        assert study.opened == {**OPENED, "format": FORMAT}
        assert study.ledger.head() == head
        assert study.read_units() == UNITS
    assert names(study.folder) == ["ledger.db", "lock", "outputs", "predictions", "previews", "units.csv", "weights"]


def test_two_studies_with_the_same_seed_begin_with_the_same_hash(tmp_path):
    with Study.create(tmp_path / "a", OPENED) as a, Study.create(tmp_path / "b", dict(reversed(OPENED.items()))) as b:
        assert a.ledger.head() == b.ledger.head()


def test_paths(folder):
    with Study.open(folder) as study:
        assert study.weights_path(7) == folder / "weights" / "round_007.safetensors"
        assert study.weights_path(1234).name == "round_1234.safetensors"
        assert study.outputs_path == folder / "outputs"
        assert study.previews_path == folder / "previews"
        assert study.units_path == folder / "units.csv"


def test_an_empty_folder_may_become_a_study(tmp_path):
    Study.create(tmp_path, OPENED).close()
    assert Study.exists(tmp_path)


def test_foreign_files_are_never_mixed_in(tmp_path):
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(StudyError, match=r"holds other files \(first: thesis\.docx\); expected a new or empty folder"):
        Study.create(tmp_path, OPENED)
    assert names(tmp_path) == ["thesis.docx"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "study").touch()
    with pytest.raises(StudyError, match="is a file; expected a folder"):
        Study.create(tmp_path / "study", OPENED)


def test_an_existing_study_is_not_made_again(folder):
    with pytest.raises(StudyError, match="already holds a study; resume it"):
        Study.create(folder, {**OPENED, "seed": 4})
    with Study.open(folder) as study:  # and the lock was let go
        assert study.opened["seed"] == 3


@pytest.mark.parametrize("write", [True, False])
def test_what_is_no_study(tmp_path, write):
    with pytest.raises(StudyError, match=r"no study at .*; expected a folder with ledger\.db"):
        Study.open(tmp_path / "nowhere", write)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(StudyError, match=r"is not a study: found no ledger\.db"):
        Study.open(tmp_path, write)
    assert names(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize(("written", "mend"), [(7, "upgrade medal"), (0, r"open it with medal 0\.1\.0")])
def test_another_format(tmp_path, written, mend, write, monkeypatch):
    monkeypatch.setattr(medal.study, "FORMAT", written)
    with Study.create(tmp_path / "study", OPENED):
        pass
    monkeypatch.undo()
    with pytest.raises(StudyVersion, match=f"written in format {written}, this medal reads 1; {mend}"):
        Study.open(tmp_path / "study", write)


def test_a_failed_opening_lets_the_lock_go(tmp_path, monkeypatch):
    monkeypatch.setattr(medal.study, "FORMAT", 7)
    Study.create(tmp_path / "study", OPENED).close()
    monkeypatch.undo()
    for _ in range(2):
        with pytest.raises(StudyVersion):
            Study.open(tmp_path / "study")


@pytest.mark.parametrize("write", [True, False])
def test_a_journal_without_its_first_event(tmp_path, write):
    with Ledger(tmp_path / "ledger.db"):
        pass
    with pytest.raises(LedgerBroken, match="begins with nothing, expected 'opened'"):
        Study.open(tmp_path, write)
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.append("asked", {})
    with pytest.raises(LedgerBroken, match="begins with event 'asked'"):
        Study.open(tmp_path, write)


def test_a_tampered_study_is_not_continued_but_can_be_read(folder):
    with closing(sqlite3.connect(folder / "ledger.db")) as db:
        db.execute("DROP TRIGGER event_no_update")
        db.execute("""UPDATE event SET content = replace(content, '"seed":3', '"seed":4')""")
        db.commit()
    for _ in range(2):  # the lock is let go
        with pytest.raises(LedgerBroken, match="event 1 was changed"):
            Study.open(folder)
    with Study.open(folder, write=False) as study:
        assert study.opened["seed"] == 4


def test_opening_clears_drafts_and_restores_folders(folder):
    for draft in (folder / ".ab.part", folder / "weights" / ".cd.part", folder / ".ef.part-wal"):
        draft.touch()
    (folder / "outputs").rmdir()
    Study.open(folder, write=False).close()
    assert (folder / ".ab.part").exists()
    Study.open(folder).close()
    assert names(folder) == ["ledger.db", "lock", "outputs", "predictions", "previews", "weights"]
    assert names(folder / "weights") == []


# --- weights


STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}


def test_weights_of_a_round(folder):
    with Study.open(folder) as study:
        digest = study.save_weights(0, STATE)
        assert digest == weights_hash(STATE)
        study.ledger.append("trained", {"round": 0, "weights": digest})
        back = study.load_weights(0)
    assert all(torch.equal(back[k], STATE[k]) for k in STATE)
    assert names(folder / "weights") == ["round_000.safetensors"]


def test_the_last_training_of_a_round_counts(folder):
    with Study.open(folder) as study:
        study.ledger.append("trained", {"round": 0, "weights": study.save_weights(0, STATE)})
        study.ledger.append("trained", {"round": 0, "weights": study.save_weights(0, {"bias": torch.ones(1)})})
        assert study.load_weights(0).keys() == {"bias"}


def test_weights_that_no_event_tells_of(folder):
    with Study.open(folder) as study:
        study.save_weights(0, STATE)
        with pytest.raises(StudyError, match=r"round 0 of .* was not trained yet; run `medal resume`"):
            study.load_weights(0)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "other", "pickle"])
def test_damaged_weights_name_the_mend(folder, damage):
    with Study.open(folder) as study:
        study.ledger.append("trained", {"round": 0, "weights": study.save_weights(0, STATE)})
        path = study.weights_path(0)
        content = path.read_bytes()
        if damage == "flip":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        elif damage == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif damage == "remove":
            path.unlink()
        elif damage == "other":
            study.save_weights(0, {"weight": torch.ones(1)})
        else:
            torch.save(STATE, path)
        with pytest.raises(StudyError, match="run `medal resume`, which trains the round again"):
            study.load_weights(0)


# --- predictions


def test_predictions_come_back_checked_against_the_journal(folder):
    values = np.array([[0.25, 0.5], [0.75, 1.0]], dtype=np.float32)
    with Study.open(folder) as study:
        found = study.save_predictions(2, "test", ["b", "a"], values)
        study.ledger.append("evaluated", {"round": 2, "predictions": {"test": found}})
        ids, again = study.load_predictions(2, "test")
        assert ids == ("b", "a")
        assert np.array_equal(again, values)
        assert again.dtype == np.float32
        with pytest.raises(StudyError, match="no predictions for the part 'validation'"):
            study.load_predictions(2, "validation")
        study.save_predictions(2, "test", ["a", "b"], values)
        with pytest.raises(StudyError, match="other predictions than the journal names"):
            study.load_predictions(2, "test")
        study.predictions_path(2, "test").write_bytes(b"junk")
        with pytest.raises(StudyError, match="is damaged"):
            study.load_predictions(2, "test")
        study.predictions_path(2, "test").unlink()
        with pytest.raises(StudyError, match="missing"):
            study.load_predictions(2, "test")
        with pytest.raises(StudyError, match="one line for each row"):
            study.save_predictions(2, "test", ["a"], values)


# --- previews and units


def test_previews_are_those_of_the_last_batch(folder):
    with Study.open(folder) as study:
        study.save_previews({"I1": b"one", "I2#Pleural Thickening": b"two"})
        assert names(study.previews_path) == ["I1.png", "I2#Pleural Thickening.png"]
        study.save_previews({"I1": b"new", "I3": b"three"})
        assert {p.name: p.read_bytes() for p in study.previews_path.iterdir()} == {"I1.png": b"new", "I3.png": b"three"}
        study.save_previews({})
        assert names(study.previews_path) == []


@pytest.mark.parametrize("unit", ["../I1", "a/b", "a\\b", ".hidden", "", "a\nb", "a\0b", "x" * 201, "\ud800"])
def test_ids_that_would_leave_the_folder_write_nothing(folder, unit):
    with Study.open(folder) as study:
        study.save_previews({"old": b"old"})
        with pytest.raises(StudyError, match="cannot be a file name"):
            study.save_previews({"I1": b"", unit: b"x"})
        assert names(study.previews_path) == ["old.png"]


def test_units(folder):
    with Study.open(folder) as study:
        with pytest.raises(StudyError, match=r"units\.csv is missing"):
            study.read_units()
        study.write_units(UNITS)
        assert study.read_units() == UNITS


# --- full disks


def test_a_full_disk_keeps_the_study_whole(folder, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Study.open(folder) as study:
        study.ledger.append("trained", {"round": 0, "weights": study.save_weights(0, STATE)})
        study.write_units(UNITS)
        with monkeypatch.context() as patch:
            patch.setattr(medal.storage.os, "fsync", full)
            for write in (
                lambda: study.save_weights(0, {"bias": torch.ones(1)}),
                lambda: study.write_units(UNITS[:1]),
                lambda: study.save_previews({"I1": b"x"}),
            ):
                with pytest.raises(StorageFull, match="free some space, then run the same command again"):
                    write()
        assert study.load_weights(0).keys() == STATE.keys()
        assert study.read_units() == UNITS
        assert study.ledger.verify().events == 2
    assert [p for p in folder.rglob("*") if ".part" in p.name] == []


def test_a_disk_that_fills_while_a_study_is_made_leaves_no_study(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(StorageFull):
            Study.create(tmp_path / "study", OPENED)
    assert not Study.exists(tmp_path / "study")
    assert names(tmp_path / "study") == ["lock", "outputs", "predictions", "previews", "weights"]
    Study.create(tmp_path / "study", OPENED).close()
