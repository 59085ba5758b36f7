import hashlib
import random
import sqlite3
from contextlib import closing

import pytest

from medal.errors import LedgerBroken, StudyError
from medal.ledger import GENESIS, Ledger

COLUMNS = ("kind", "content", "aside", "hash", "seal")


def fill(path, n=5):
    with Ledger(path) as ledger:
        for i in range(n):
            ledger.append("asked" if i % 2 == 0 else "answered", {"round": i, "scores": [0.1 * i]}, {"seconds": i})
    return path


def raw(path, *statements):
    """Changes a ledger as somebody would who knows SQLite."""
    with closing(sqlite3.connect(path)) as db:
        for trigger in ("event_no_update", "event_no_delete", "event_only_last"):
            db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        for statement in statements:
            db.execute(*statement) if isinstance(statement, tuple) else db.execute(statement)
        db.commit()
    return path


def broken(path, message):
    with Ledger(path, read_only=True) as ledger, pytest.raises(LedgerBroken, match=message) as caught:
        ledger.verify()
    assert "restore the study from a backup" in str(caught.value)


@pytest.mark.parametrize("seq", [1, 3, 5])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_change_in_any_column_of_any_row_is_found(tmp_path, column, seq):
    path = raw(
        fill(tmp_path / "ledger.db"),
        f"UPDATE event SET {column} = replace({column}, '0', '9') || ' ' WHERE seq = {seq}",
    )
    wanted = "changed aside" if column in ("aside", "seal") else "changed .kind, content or hash"
    broken(path, rf"event {seq} (was|has a) {wanted}")


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("value", ["NULL", "x'00ff'", "CAST(x'ff80' AS TEXT)", "7"])
def test_values_of_another_type_are_found(tmp_path, column, value):
    # the column is NOT NULL, so NULL needs a table without that rule
    path = fill(tmp_path / "ledger.db")
    raw(path, "CREATE TABLE loose AS SELECT * FROM event", "DROP TABLE event", "ALTER TABLE loose RENAME TO event")
    raw(path, f"UPDATE event SET {column} = {value} WHERE seq = 2")
    with Ledger(path, read_only=True) as ledger, pytest.raises(LedgerBroken, match=r"event 2|damaged"):
        ledger.verify()


def test_a_changed_kind_that_keeps_the_length_is_found(tmp_path):
    broken(raw(fill(tmp_path / "ledger.db"), "UPDATE event SET kind = 'asker' WHERE seq = 3"), "event 3 was changed")


def test_text_cannot_be_moved_between_kind_and_content(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.append("asked", {"a": 1})
    raw(path, """UPDATE event SET kind = 'asked{"a"', content = ':1}'""")
    broken(path, "event 1 was changed")


@pytest.mark.parametrize("seq", [1, 2, 4])
def test_a_missing_row_is_named(tmp_path, seq):
    broken(raw(fill(tmp_path / "ledger.db"), f"DELETE FROM event WHERE seq = {seq}"), f"event {seq} is missing")


def test_a_missing_row_with_new_numbers_is_found(tmp_path):
    path = raw(
        fill(tmp_path / "ledger.db"), "DELETE FROM event WHERE seq = 2", "UPDATE event SET seq = seq - 1 WHERE seq > 2"
    )
    broken(path, "event 2 was changed .* or an event before it was taken out")


def test_swapped_rows_are_found(tmp_path):
    path = raw(
        fill(tmp_path / "ledger.db"),
        "UPDATE event SET seq = 99 WHERE seq = 3",
        "UPDATE event SET seq = 3 WHERE seq = 4",
        "UPDATE event SET seq = 4 WHERE seq = 99",
    )
    broken(path, "event 3 was reordered")


def test_an_inserted_row_is_found(tmp_path):
    path = raw(
        fill(tmp_path / "ledger.db"),
        "INSERT INTO event SELECT 6, kind, content, aside, hash, seal FROM event WHERE seq = 5",
    )
    broken(path, "event 6 was reordered")


def test_an_aside_from_another_event_is_found(tmp_path):
    path = raw(
        fill(tmp_path / "ledger.db"), "UPDATE event SET aside = (SELECT aside FROM event WHERE seq = 1) WHERE seq = 2"
    )
    broken(path, "event 2 has a changed aside")


def test_the_first_bad_event_is_the_one_named(tmp_path):
    broken(
        raw(fill(tmp_path / "ledger.db"), "UPDATE event SET content = '{}' WHERE seq IN (2, 4)"), "event 2 was changed"
    )


def test_a_rebuilt_content_chain_still_breaks_the_seal_unless_both_are_rebuilt(tmp_path):
    path = fill(tmp_path / "ledger.db", 1)
    new = hashlib.sha256(f"{GENESIS}\nasked\n{{}}".encode()).hexdigest()
    raw(path, ("UPDATE event SET content = '{}', hash = ?", (new,)))
    broken(path, "event 1 has a changed aside")


def test_events_taken_off_the_end_are_told_by_the_head_alone(tmp_path):
    path = fill(tmp_path / "ledger.db")
    with Ledger(path, read_only=True) as ledger:
        printed_in_the_report = ledger.head()
    raw(path, "DELETE FROM event WHERE seq > 3")
    with Ledger(path, read_only=True) as ledger:
        assert ledger.verify().events == 3  # the chain alone cannot know
        assert ledger.head() != printed_in_the_report


def test_content_that_is_no_json_is_refused_when_read(tmp_path):
    path = raw(fill(tmp_path / "ledger.db"), "UPDATE event SET content = '{' WHERE seq = 2")
    with Ledger(path, read_only=True) as ledger, pytest.raises(LedgerBroken, match="event 2 is not JSON"):
        list(ledger.events())


def test_flipped_bytes_in_the_file_never_pass(tmp_path):
    path = fill(tmp_path / "ledger.db", 40)
    with Ledger(path, read_only=True) as ledger:
        wanted = [(e.kind, e.content, e.aside) for e in ledger.events()]
    clean, rng = path.read_bytes(), random.Random(0)
    found = 0
    for trial in range(60):
        copy = tmp_path / f"{trial}.db"
        damaged = bytearray(clean)
        for _ in range(8):
            damaged[rng.randrange(100, len(damaged))] ^= 1 << rng.randrange(8)
        copy.write_bytes(damaged)
        try:
            with Ledger(copy, read_only=True) as ledger:
                ledger.verify()
                # bits that no event uses may change; every event must still be what it was
                assert [(e.kind, e.content, e.aside) for e in ledger.events()] == wanted
        except StudyError:
            found += 1
    assert found > 30
