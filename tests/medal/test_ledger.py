import hashlib
import json
import os
import sqlite3
from contextlib import closing
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import medal.ledger
from medal.errors import StorageFull, StudyError
from medal.ledger import GENESIS, Ledger, canonical


def fill(path, n=5):
    with Ledger(path) as ledger:
        for i in range(n):
            ledger.append("asked" if i % 2 == 0 else "answered", {"round": i, "scores": [0.1 * i]}, {"seconds": i})
    return path


# --- what is written is what is read


def test_chain_by_hand(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert (ledger.head(), len(ledger), ledger.last("asked")) == (GENESIS, 0, None)
        first = ledger.append("asked", {"b": 1, "a": float("nan")})
        second = ledger.append("answered", {})
        h1 = hashlib.sha256(b"0" * 64 + b'\nasked\n{"a":null,"b":1}').hexdigest()
        h2 = hashlib.sha256(f"{h1}\nanswered\n{{}}".encode()).hexdigest()
        assert (first.hash, second.hash, ledger.head()) == (h1, h2, h2)
        aside = json.dumps(first.aside, sort_keys=True, separators=(",", ":"))
        assert first.seal == hashlib.sha256(f"{'0' * 64}\n{h1}\n{aside}".encode()).hexdigest()
        assert ledger.verify() == medal.ledger.LedgerReport(2, h2, second.seal)


def test_events_come_back_as_written(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        written = [ledger.append(kind, {"i": i}, {"seconds": 0.5}) for i, kind in enumerate(["a", "b", "a"])]
    with Ledger(tmp_path / "ledger.db", read_only=True) as ledger:
        assert list(ledger.events()) == written
        assert [e.seq for e in ledger.events("a")] == [1, 3]
        assert ledger.last("a") == written[2]
        assert ledger.last("c") is None
        assert len(ledger) == 3


def test_events_beyond_one_block(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        with ledger.step():
            for i in range(700):
                ledger.append("asked" if i % 3 else "trained", {"i": i})
        assert [e.content["i"] for e in ledger.events()] == list(range(700))
        assert [e.content["i"] for e in ledger.events("trained")] == list(range(0, 700, 3))
        assert ledger.verify().events == 700


def test_iteration_ends_at_what_was_last_when_it_began(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        with ledger.step():
            for i in range(300):
                ledger.append("asked", {"i": i})
        with ledger.step():
            for event in islice(ledger.events(), 1000):
                ledger.append("copied", event.content)
        assert len(ledger) == 600


def test_aside_has_time_machine_and_process(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        aside = ledger.append("asked", {}, {"seconds": float("inf")}).aside
    assert set(aside) == {"time", "host", "pid", "seconds"}
    assert aside["time"].endswith("+00:00")
    assert aside["pid"] == os.getpid()
    assert aside["seconds"] is None


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["asked", "trained"]), st.dictionaries(st.text(), st.floats())), max_size=6))
def test_any_content_verifies_and_survives(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with Ledger(path) as ledger:
        for kind, content in events:
            ledger.append(kind, content)
    with Ledger(path, read_only=True) as ledger:
        assert ledger.verify().events == len(events)
        assert [(e.kind, canonical(e.content)) for e in ledger.events()] == [(k, canonical(c)) for k, c in events]


def test_hash_leaves_out_clock_host_and_seconds(tmp_path, monkeypatch):
    plain = fill(tmp_path / "a.db")
    monkeypatch.setattr(medal.ledger, "_now", lambda: "1999-12-31T23:59:59.000+00:00")
    monkeypatch.setattr(medal.ledger, "host_tag", lambda: "ffffffff")
    with Ledger(tmp_path / "b.db") as other:  # interrupted after each event
        pass
    for i in range(5):
        with Ledger(tmp_path / "b.db") as other:
            other.append("asked" if i % 2 == 0 else "answered", {"round": i, "scores": [0.1 * i]}, {"seconds": -i})
    with Ledger(plain, read_only=True) as first, Ledger(tmp_path / "b.db", read_only=True) as second:
        one, two = first.verify(), second.verify()
    assert one.head == two.head
    assert one.seal != two.seal


def test_hash_depends_on_kind_content_and_order(tmp_path):
    heads = set()
    for i, events in enumerate(
        (
            [("a", {}), ("b", {})],
            [("b", {}), ("a", {})],
            [("a", {}), ("b", {"x": 1})],
            [("a", {}), ("c", {})],
            [("a", {})],
        )
    ):
        with Ledger(tmp_path / f"{i}.db") as ledger:
            for kind, content in events:
                ledger.append(kind, content)
            heads.add(ledger.head())
    assert len(heads) == 5


# --- append only


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET content = '{}' WHERE seq = 1",
        "UPDATE event SET aside = '{}'",
        "DELETE FROM event WHERE seq = 5",
        "INSERT OR REPLACE INTO event VALUES (2, 'a', '{}', '{}', '', '')",
        "REPLACE INTO event VALUES (5, 'a', '{}', '{}', '', '')",
        "INSERT INTO event VALUES (9, 'a', '{}', '{}', '', '')",
        "INSERT INTO event VALUES (0, 'a', '{}', '{}', '', '')",
    ],
)
def test_the_database_itself_refuses_changes(tmp_path, statement):
    path = fill(tmp_path / "ledger.db")
    with closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(statement)
    with Ledger(path, read_only=True) as ledger:
        assert ledger.verify().events == 5


@pytest.mark.parametrize("kind", ["", "Asked", "as ked", "asked\n", "asked;", "1"])
def test_kinds_are_plain_words(tmp_path, kind):
    with (
        Ledger(tmp_path / "ledger.db") as ledger,
        pytest.raises(StudyError, match="lower-case letters and underscores"),
    ):
        ledger.append(kind, {})


def test_content_that_json_cannot_hold_writes_nothing(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        with pytest.raises(StudyError, match=r"value\.x is a object"):
            ledger.append("asked", {"x": object()})
        with pytest.raises(StudyError, match=r"value\.path is a PosixPath"):
            ledger.append("asked", {}, {"path": tmp_path})
        assert len(ledger) == 0


def test_reading_cannot_append(tmp_path):
    with Ledger(fill(tmp_path / "ledger.db"), read_only=True) as ledger:
        with pytest.raises(StudyError, match="open for reading; open it for writing"):
            ledger.append("asked", {})
        with pytest.raises(StudyError, match="open for reading"), ledger.step():
            pass


def test_durability_settings(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert ledger._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ledger._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_closed_ledger_says_so(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.close()
    ledger.close()
    with pytest.raises(StudyError, match="closed"):
        ledger.head()


# --- steps


def interrupted(ledger, kind):
    with ledger.step():
        with ledger.step():
            ledger.append(kind, {})
        raise ZeroDivisionError


def too_big(ledger):
    with ledger.step():
        ledger.append("small", {})
        ledger.append("big", {"x": "x" * 100_000})


def stubborn(ledger):
    """Catches the failure of one event and goes on."""
    with ledger.step():
        with pytest.raises(StorageFull):
            ledger.append("big", {"x": "x" * 100_000})
        with pytest.raises(StudyError, match="takes no more events"):
            ledger.append("small", {})


def test_a_step_is_all_or_nothing(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        with ledger.step():
            ledger.append("a", {})
            ledger.append("b", {})
        head = ledger.head()
        with pytest.raises(ZeroDivisionError):
            interrupted(ledger, "c")
        assert (len(ledger), ledger.head()) == (2, head)
        ledger.append("d", {})
        assert [e.kind for e in ledger.events()] == ["a", "b", "d"]
        assert ledger.verify().events == 3


def test_steps_inside_steps_join(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        with pytest.raises(ZeroDivisionError), ledger.step():
            interrupted(ledger, "a")
        assert len(ledger) == 0
        with ledger.step(), ledger.step():
            ledger.append("a", {})
        assert len(ledger) == 1


def test_readers_see_a_step_only_when_it_is_done(tmp_path):
    with Ledger(tmp_path / "ledger.db") as writer, Ledger(tmp_path / "ledger.db", read_only=True) as reader:
        with writer.step():
            writer.append("a", {})
            assert len(reader) == 0
            writer.append("b", {})
        assert [e.kind for e in reader.events()] == ["a", "b"]


def test_a_failed_append_that_is_caught_still_undoes_the_step(tmp_path):
    with Ledger(fill(tmp_path / "ledger.db")) as ledger:
        ledger._db.execute("PRAGMA max_page_count = 1")
        with pytest.raises(StudyError, match="one of its events failed"):
            stubborn(ledger)
        assert len(ledger) == 5


# --- full disks


def test_full_disk_keeps_what_was_written(tmp_path):
    path = fill(tmp_path / "ledger.db")
    with Ledger(path) as ledger:
        head = ledger.head()
        ledger._db.execute("PRAGMA max_page_count = 1")
        with pytest.raises(StorageFull, match=r"database or disk is full.* MB free; free some space") as caught:
            too_big(ledger)
        assert str(tmp_path) in str(caught.value)
        assert (ledger.verify().events, ledger.head()) == (5, head)
        ledger._db.execute("PRAGMA max_page_count = 100000")
        ledger.append("asked", {"x": "x" * 100_000})
        assert ledger.verify().events == 6
