import base64
import csv
import hashlib
import hmac
import os
import subprocess
import sys
from pathlib import Path

import pytest

import medal.identity
from medal.errors import StorageFull, StudyError
from medal.identity import PUBLIC_KEY, Pseudonyms, installation_key, private_folder, read_private, write_private
from medal.study import Study

ROOT = Path(medal.identity.__file__).parents[1]


@pytest.fixture(autouse=True)
def private(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))
    return tmp_path / "private"


def mode(path):
    return path.stat().st_mode & 0o777


def rows(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as handle:
        return list(csv.reader(handle))


# --- pseudonyms


def test_pseudonym_by_hand():
    digest = hmac.new(b"key", b"P\x1fpatient 7", hashlib.sha256).digest()
    bits = int.from_bytes(digest, "big") >> (256 - 60)
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    by_hand = "".join(alphabet[(bits >> (55 - 5 * i)) & 31] for i in range(12))
    assert Pseudonyms(b"key").of("P", "patient 7") == "P" + by_hand
    assert base64.b32encode(digest)[:12].decode().lower() == by_hand


def test_public_ids_never_change():
    """Golden: a change here moves every pick on public data."""
    assert Pseudonyms(PUBLIC_KEY).of("I", "00000001_000.png") == "Ibr5tdp3ooxtr"


def test_same_key_same_pseudonym_another_key_another():
    first, again, other = Pseudonyms(b"a" * 32), Pseudonyms(b"a" * 32), Pseudonyms(b"b" * 32)
    assert first.of("P", "x") == again.of("P", "x") == first.of("P", "x")
    assert first.of("P", "x") != other.of("P", "x")


def test_identities_and_prefixes_are_kept_apart():
    names = Pseudonyms(b"k")
    many = [names.of(prefix, f"{i}") for prefix in ("P", "I") for i in range(2000)]
    assert len({name[1:] for name in many}) == 4000


def test_a_pseudonym_shows_nothing_of_the_identity():
    name = Pseudonyms(b"k").of("P", "Mustermann^Erika")
    assert name.isascii()
    assert name.isalnum()
    assert len(name) == 13
    assert "muster" not in name


def test_file_names_that_are_no_utf8_have_pseudonyms_too(private):
    odd = os.fsdecode(b"/data/M\xfcller.dcm")
    names = Pseudonyms(b"k")
    name = names.of("I", odd)
    assert rows(names.write_table("study"))[1] == [name, odd, ""]
    assert b"M\xfcller" in (private / "study.csv").read_bytes()


def test_two_identities_with_one_pseudonym_stop_the_run(monkeypatch):
    names = Pseudonyms(b"k")
    names.of("P", "x")
    monkeypatch.setattr(medal.identity.hmac, "new", lambda *_: hmac.HMAC(b"k", b"P\x1fx", hashlib.sha256))
    with pytest.raises(StudyError, match="two identities share the pseudonym"):
        names.of("P", "y")


# --- the key


def test_key_is_made_once_and_private(private):
    key = installation_key()
    assert len(key) == 32
    assert installation_key() == key
    assert mode(private / "pseudonym.key") == 0o600
    assert mode(private) == 0o700
    assert [p.name for p in private.iterdir()] == ["pseudonym.key"]


def test_key_is_private_whatever_the_umask(private):
    before = os.umask(0)
    try:
        installation_key()
    finally:
        os.umask(before)
    assert mode(private / "pseudonym.key") == 0o600
    assert mode(private) == 0o700


def test_two_machines_have_two_keys(tmp_path, monkeypatch):
    first = installation_key()
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "other"))
    assert installation_key() != first


def test_without_the_variable_the_key_lies_in_the_home(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDAL_PRIVATE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert private_folder() == tmp_path / "home" / ".local" / "share" / "medal" / "private"
    assert mode(private_folder()) == 0o700


@pytest.mark.parametrize("size", [0, 16, 33])
def test_a_damaged_key_is_never_replaced(private, size):
    private.mkdir()
    (private / "pseudonym.key").write_bytes(b"x" * size)
    with pytest.raises(StudyError, match=f"has {size} bytes, expected 32; restore it from a backup"):
        installation_key()
    assert (private / "pseudonym.key").read_bytes() == b"x" * size


def test_processes_that_start_together_agree_on_one_key(private, tmp_path):
    code = """
import sys, time
from pathlib import Path
from medal.identity import installation_key
Path(sys.argv[1], sys.argv[2]).touch()
while len(list(Path(sys.argv[1]).iterdir())) < 4:
    time.sleep(0.0005)
print(installation_key().hex())
"""
    (tmp_path / "ready").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    commands = [[sys.executable, "-c", code, str(tmp_path / "ready"), str(i)] for i in range(4)]
    processes = [subprocess.Popen(c, env=environment, stdout=subprocess.PIPE, text=True) for c in commands]
    keys = {p.communicate(timeout=60)[0].strip() for p in processes}
    assert keys == {installation_key().hex()}
    assert [p.name for p in private.iterdir()] == ["pseudonym.key"]


def test_the_second_process_takes_the_key_of_the_first(private, monkeypatch):
    """Loses the race at its last moment: the key appears between looking and linking."""
    link = os.link

    def late(source, target):
        Path(target).write_bytes(b"f" * 32)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert installation_key() == b"f" * 32
    assert [p.name for p in private.iterdir()] == ["pseudonym.key"]


# --- the table


def test_table_leads_back_and_is_private(private):
    names = Pseudonyms(b"k")
    one, two = names.of("P", "patient 7"), names.of("I", '/data/a "b",\nc.dcm')
    before = os.umask(0)
    try:
        path = names.write_table("study", {two: "torn file"})
    finally:
        os.umask(before)
    assert path == private / "study.csv"
    assert mode(path) == 0o600
    expected = sorted([[one, "patient 7", ""], [two, '/data/a "b",\nc.dcm', "torn file"]])
    assert rows(path) == [["pseudonym", "identity", "note"], *expected]
    assert sorted(p.name for p in private.iterdir()) == [".lock", "study.csv"], "no draft stays"


def test_what_was_once_named_can_always_be_traced_back():
    first = Pseudonyms(b"k")
    gone, kept = first.of("I", "gone.dcm"), first.of("I", "kept.dcm")
    first.write_table("study", {gone: "old note", kept: "old note"})
    later = Pseudonyms(b"k")
    new = later.of("I", "new.dcm")
    later.of("I", "kept.dcm")
    table = {p: (i, note) for p, i, note in rows(later.write_table("study"))[1:]}
    assert table == {gone: ("gone.dcm", "old note"), kept: ("kept.dcm", ""), new: ("new.dcm", "")}


def test_an_open_table_is_made_private_again(private):
    private.mkdir()
    (private / "study.csv").write_text("pseudonym,identity,note\n\n")
    (private / "study.csv").chmod(0o644)
    assert mode(Pseudonyms(b"k").write_table("study")) == 0o600


def test_identities_lie_outside_the_study(private, tmp_path):
    names = Pseudonyms(installation_key())
    unit, patient = names.of("I", "/pacs/Mustermann/1.dcm"), names.of("P", "Mustermann^Erika")
    with Study.create(tmp_path / "study", {"seed": 0}, [{"id": unit, "group": patient, "split": "pool"}]) as study:
        study.ledger.append("asked", {"ids": [unit]})
        study.save_previews({unit: b"png"})
        table = names.write_table("study")
        assert not table.is_relative_to(study.folder)
    for path in (tmp_path / "study").rglob("*"):
        assert "Mustermann" not in path.name
        assert path.is_dir() or b"Mustermann" not in path.read_bytes()
    assert "Mustermann" in table.read_text()


def test_another_table_of_patients_is_private_and_replaced_whole(private):
    write_private("patients", ["file", "name"], [["a", "b"], ["c", "d"]])
    path = write_private("patients", ["file", "name"], [["e", 'f "g"']])
    assert path == private / "patients.csv"
    assert mode(path) == 0o600
    assert rows(path) == [["file", "name"], ["e", 'f "g"']]
    assert read_private("patients") == [["e", 'f "g"']]
    assert read_private("none") == []


def test_writers_of_one_table_lose_no_line(private):
    """Each reads the table, adds its line and writes it back: without a lock lines would go lost."""
    code = """
import sys
from medal.identity import Pseudonyms
for i in range(15):
    names = Pseudonyms(b"k")
    names.of("P", f"{sys.argv[1]} {i}")
    names.write_table("study")
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen([sys.executable, "-c", code, str(i)], env=environment) for i in range(3)]
    assert [p.wait(timeout=120) for p in processes] == [0, 0, 0]
    assert {line[1] for line in read_private("study")} == {f"{i} {k}" for i in range(3) for k in range(15)}


KILLED = """
import os, sys
import medal.storage
from medal.identity import Pseudonyms
names = Pseudonyms(b"k")
names.of("P", "new")
os.fsync = lambda _: os.kill(os.getpid(), 9)
names.write_table("study")
"""


def test_a_kill_in_the_middle_leaves_the_old_table_and_no_lock(private):
    names = Pseudonyms(b"k")
    names.of("P", "old")
    before = names.write_table("study").read_bytes()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False).returncode == -9
    assert (private / "study.csv").read_bytes() == before
    later = Pseudonyms(b"k")
    later.of("P", "later")
    assert {line[1] for line in rows(later.write_table("study"))[1:]} == {"old", "later"}


# --- what the system refuses


MEND = "set MEDAL_PRIVATE to a folder of your own"


def test_a_private_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "file" / "private"))
    for action in (private_folder, installation_key, lambda: Pseudonyms(b"k").write_table("study")):
        with pytest.raises(StudyError, match=f"private folder .* cannot be made: Not a directory; .*{MEND}") as caught:
            action()
        assert "\n" not in str(caught.value)


def refuse(*_args, **_kwargs):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("method", ["read_bytes", "exists"])
def test_a_key_that_may_not_be_read_is_one_line(monkeypatch, method):
    installation_key()
    monkeypatch.setattr(Path, method, refuse)
    with pytest.raises(
        StudyError, match=f"cannot be used: Permission denied; give this user the permission, or {MEND}"
    ):
        installation_key()


def test_a_folder_that_may_not_be_written_is_one_line(private, monkeypatch):
    private.mkdir()
    opener = os.open

    def closed(path, flags, *more, **named):
        return refuse() if flags & os.O_CREAT else opener(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", closed)
    for action in (installation_key, lambda: write_private("patients", ["a"], [])):
        with pytest.raises(StudyError, match=f"cannot be used: Permission denied; .*{MEND}"):
            action()


def test_a_table_that_is_a_folder_is_one_line(private):
    (private / "study.csv").mkdir(parents=True)
    for action in (lambda: read_private("study"), lambda: Pseudonyms(b"k").write_table("study")):
        with pytest.raises(StudyError, match=f"cannot be used: Is a directory; .*{MEND}"):
            action()


def test_a_full_disk_stays_a_full_disk(private, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="no space left"):
        Pseudonyms(b"k").write_table("study")


def test_a_damaged_table_is_one_line(private):
    private.mkdir()
    (private / "study.csv").write_text('pseudonym,identity,note\nPa,"' + "x" * 200_000 + '",\n')
    with pytest.raises(StudyError, match=r"study\.csv is damaged .*restore it from a backup or remove it"):
        read_private("study")


def test_a_user_without_a_home_is_told_the_mend(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MEDAL_PRIVATE")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(StudyError, match=f"no home folder for keys and tables; {MEND}"):
        private_folder()
