"""The rules of the desk that takes answers in, on a small pool."""

from __future__ import annotations

import math
import random

import pytest
import torch
from playing import pool_of

from medal.exchange import AnswerRow, Reading
from medal.exchange.intake import IMPORTED, Desk, Intake, Question
from medal.pool import Annotations, Pool

A, B, C = 1.0, 0.0, -1.0
PARTS = ["pool"] * 6 + ["validation"] * 2 + ["test"] * 2
ASKED = {f"r{i:03d}": Question("query", "ask_001", True) for i in range(4)}


def row(line: int, unit: str, **cells) -> AnswerRow:
    values = {name: cells.pop(name) for name in ("a", "b", "c") if name in cells}
    return AnswerRow(line, unit, values, **cells)


def desk(pool: Pool | None = None, **changes) -> Desk:
    settings = {"questions": ASKED, "retired_by": {}, "quarantined": {"Ibad": "no pixels"}, "reader": "R1", **changes}
    return Desk(pool or pool_of(PARTS), **settings)


def sort(rows: list[AnswerRow], **settings) -> Intake:
    return desk(**settings).sort(Reading("t.csv", tuple(rows)))


def answered(pool: Pool, unit: str, values: tuple[float, float, float], reader: str) -> Pool:
    pool.answer(Annotations((unit,), torch.tensor([values]), "image", (1.0,), reader))
    return pool


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (row(2, "r0001", a=A), "unknown id; did you mean r0"),
        (row(2, "Jane Roe", a=A), "unknown id; take the ids from the work list"),
        (row(2, "Ibad", a=A), "the file cannot be read: no pixels"),
        (row(2, "r009", a=A), "belongs to the test part, which is never labelled"),
        (row(2, "r006", a=A), "was not drawn for measuring; a label that was not drawn at random would bias"),
        (row(2, "r005", a=A), "nobody asked about this image; --extra takes labels"),
        (row(2, "r005", cannot_label="quality"), "nobody asked about this image; --extra takes answers"),
        (row(2, "r001", a=A, problems=("Edema: '2'",)), "Edema: '2'"),
    ],
)
def test_refusals(given: AnswerRow, message: str) -> None:
    intake = sort([given, row(3, "r000", a=A)])
    ((line, unit, what),) = intake.refused
    assert (line, unit in ("", "r009", "r006", "r005", "r001")) == (2, True)
    assert message in what
    assert "Jane" not in what
    assert (intake.taken, intake.batches[0].ids) == (1, ("r000",)), "the good row is kept"


def test_extra_takes_labels_of_the_pool_and_none_of_the_arm() -> None:
    intake = sort([row(2, "r005", a=A), row(3, "r006", a=A)], extra=True)
    assert intake.counts["volunteered"] == 1
    assert [(b.reader, b.purpose, b.ids) for b in intake.batches] == [("R1", "imported", ("r005",))]
    assert [line for line, _, _ in intake.refused] == [3]


def test_batches_are_by_reader_and_purpose_and_blind_to_order() -> None:
    questions = {**ASKED, "r006": Question("validation", "ask_001", True)}
    rows = [
        row(2, "r002", a=A, b=B, seconds=12.0),
        row(3, "r006", c=C, reader="R2"),
        row(4, "r000", a=B),
        row(5, "r001", a=A, reader="R2"),
    ]
    intake = sort(rows, questions=questions)
    assert [(b.reader, b.purpose, b.ids) for b in intake.batches] == [
        ("R1", "query", ("r000", "r002")),
        ("R2", "query", ("r001",)),
        ("R2", "validation", ("r006",)),
    ]
    first = intake.batches[0]
    assert torch.equal(first.target[1, :2], torch.tensor([1.0, 0.0]))
    assert torch.isnan(first.target[1, 2])
    assert math.isnan(first.seconds[0])
    assert first.seconds[1] == 12.0
    random.Random(0).shuffle(rows)
    again = sort(rows, questions=questions)
    assert [(b.reader, b.purpose, b.ids) for b in again.batches] == [
        (b.reader, b.purpose, b.ids) for b in intake.batches
    ]


def test_second_opinion_correction_and_no_news() -> None:
    pool = answered(pool_of(PARTS), "r000", (A, B, math.nan), "R1")
    closed = {**ASKED, "r000": Question("query", "ask_001", False)}
    cases = {
        "second opinion": row(2, "r000", a=A, b=B, reader="R2"),
        "corrected": row(2, "r000", a=B, b=B),
        "": row(2, "r000", a=A),
    }
    for kind, given in cases.items():
        intake = sort([given], pool=pool, questions=closed)
        assert [k for k, n in intake.counts.items() if n] == ([kind] if kind else [])
        assert intake.unchanged == (kind == "")
    filled = sort([row(2, "r000", a=A, b=B, c=C)], pool=pool, questions=closed)
    assert filled.counts["corrected"] == 1, "a label more is news"


def test_an_imported_label_is_nobodys_first_opinion() -> None:
    pool = answered(pool_of(PARTS), "r000", (A, B, C), IMPORTED)
    assert sort([row(2, "r000", a=A)], pool=pool).counts["answered"] == 1


def test_the_same_answer_is_news_on_the_list_that_asks_again_alone() -> None:
    pool = answered(pool_of(PARTS), "r000", (A, B, C), "R1")
    again = {"r000": Question("relabel", "ask_007", True)}
    assert sort([row(2, "r000", a=A, ask="ask_001")], pool=pool, questions=again).unchanged == 1
    intake = sort([row(2, "r000", a=A, ask="ask_007")], pool=pool, questions=again)
    assert [(b.purpose, b.ids) for b in intake.batches] == [("relabel", ("r000",))]


def test_cannot_label() -> None:
    intake = sort([row(2, "r000", cannot_label="Quality"), row(3, "r001", cannot_label="patient Roe", comment="c")])
    assert intake.retired == [(("r000",), "quality", "R1"), (("r001",), "other", "R1")]
    assert intake.comments == [("r000", "R1", "Quality"), ("r001", "R1", "patient Roe; c")]
    known = sort([row(2, "r000", cannot_label="quality")], retired_by={"r000": "R1"})
    assert (known.taken, known.unchanged) == (0, 1)
    pool = answered(pool_of(PARTS), "r000", (A, B, C), "R2")
    ((_, _, what),) = sort([row(2, "r000", cannot_label="quality")], pool=pool).refused
    assert what.startswith("R2 could label it")
    pool = answered(pool_of(PARTS), "r000", (A, B, C), "R1")
    assert sort([row(2, "r000", cannot_label="quality")], pool=pool).counts["cannot label"] == 1


def test_who_took_it_out_may_bring_it_back() -> None:
    out = {"r000": "R1"}
    assert sort([row(2, "r000", a=A)], retired_by=out).counts["answered"] == 1
    ((_, _, what),) = sort([row(2, "r000", a=A, reader="R2")], retired_by=out).refused
    assert what == "R1 stated that it cannot be labelled; a label by R1 would bring it back"


def test_blank_rows_say_nothing() -> None:
    intake = sort([row(2, "r000"), row(3, "nonsense")])
    assert (intake.blank, intake.taken, intake.refused) == (2, 0, [])


def test_whoever_gives_up_in_this_file_does_not_overrule_who_labels_in_it() -> None:
    rows = [row(2, "r000", cannot_label="quality", reader="R0"), row(3, "r000", a=A)]
    for turned in (rows, rows[::-1]):
        intake = sort(turned)
        assert [(line, what.split(";")[0]) for line, _, what in intake.refused] == [(2, "R1 could label it")]
        assert (intake.retired, intake.counts["answered"]) == ([], 1)


def test_two_who_give_up_take_it_out_once() -> None:
    rows = [row(2, "r000", cannot_label="quality", reader="R3"), row(3, "r000", cannot_label="rotated", reader="R2")]
    for turned in (rows, rows[::-1]):
        intake = sort(turned)
        assert intake.retired == [(("r000",), "rotated", "R2")]
        assert (intake.counts["cannot label"], intake.unchanged) == (1, 1)


@pytest.mark.parametrize("inner", [False, True])
def test_who_brings_it_back_in_this_file_opens_it_to_the_others(inner: bool) -> None:
    pool, unit = (pool_of(PARTS, kind="finding"), "r000#a") if inner else (pool_of(PARTS), "r000")
    settings = {"pool": pool, "questions": {unit: Question("query", "ask_001", False)}, "retired_by": {unit: "R2"}}
    rows = [row(2, "r000", a=A), row(3, "r000", a=B, reader="R2"), row(4, "r000", cannot_label="quality", reader="R3")]
    for turned in (rows, rows[::-1]):
        intake = sort(turned, **settings)
        assert [(b.reader, b.ids) for b in intake.batches] == [("R1", (unit,)), ("R2", (unit,))]
        ((line, _, what),) = intake.refused
        assert (line, what.startswith("R1, R2 could label it")) == (4, True)
        assert intake.retired == []


def test_an_old_answer_undoes_no_correction_unless_it_is_wanted() -> None:
    pool = answered(answered(pool_of(PARTS), "r001", (A, B, B), "R1"), "r001", (B, B, B), "R1")
    old = row(7, "r001", a=A, b=B, c=B)
    intake = sort([old], pool=pool)
    assert (intake.taken, intake.overtaken) == (0, [7])
    assert sort([old], pool=pool, back=True).counts["corrected"] == 1
    # the same words of another reader, and new words of the same reader, count
    assert sort([row(7, "r001", a=A, b=B, c=B, reader="R2")], pool=pool).counts["second opinion"] == 1
    assert sort([row(7, "r001", a=A, b=A, c=B)], pool=pool).counts["corrected"] == 1


def test_an_old_answer_brings_nothing_back_that_its_reader_took_out_since() -> None:
    pool = answered(pool_of(PARTS), "r001", (A, B, B), "R1")
    pool.retire(["r001"])
    old, out = row(7, "r001", a=A, b=B, c=B), {"r001": "R1"}
    assert sort([old], pool=pool, retired_by=out).overtaken == [7]
    assert sort([old], pool=pool, retired_by=out, back=True).counts["corrected"] == 1
    assert sort([row(7, "r001", a=B, b=B, c=B)], pool=pool, retired_by=out).counts["corrected"] == 1
