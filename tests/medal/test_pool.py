"""Pool: only what was paid for can be read; answers are kept, units leave the candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch

from medal.consensus import Consensus
from medal.errors import LabelNotPaid, UnitError
from medal.pool import Annotations, Pool
from medal.split import Split
from medal.units import Units

NAN = float("nan")
ROWS = ("a", "b", "c", "d", "e")
PARTS = ("pool", "pool", "validation", "test", "pool")
LABELS = ("left", "right")


def pool_of(kind: str = "image") -> Pool:
    return Pool(Units(kind, ROWS, ROWS, LABELS if kind == "finding" else ()), LABELS, Split(ROWS, ROWS, PARTS))


def answers(target: Mapping[str, Sequence[float]], kind: str = "image", annotator: str = "x") -> Annotations:
    values = torch.tensor(list(target.values()))
    return Annotations(tuple(target), values, kind, (60.0,) * len(target), annotator)


def test_candidates_are_the_unpaid_units_of_the_pool_part():
    pool = pool_of()
    assert pool.units.names(pool.candidates()) == ["a", "b", "e"]
    pool.answer(answers({"b": [1, 0]}))
    assert pool.units.names(pool.candidates()) == ["a", "e"]
    assert pool.is_paid(1)
    assert not pool.is_paid(0)


def test_findings_are_units_of_their_own():
    pool = pool_of("finding")
    assert pool.units.names(pool.candidates()) == ["a#left", "a#right", "b#left", "b#right", "e#left", "e#right"]
    pool.answer(answers({"b#right": [1]}, "finding"))
    assert pool.units.names(pool.candidates()) == ["a#left", "a#right", "b#left", "e#left", "e#right"]
    assert pool.label("b#right").tolist() == [1]
    with pytest.raises(LabelNotPaid, match="'b#left' was never paid for"):
        pool.label("b#left")


def test_an_unpaid_label_cannot_be_read():
    pool = pool_of()
    with pytest.raises(LabelNotPaid, match="label of 'a' was never paid for; ask the oracle"):
        pool.label("a")
    assert pool.opinions("a") == ()
    pool.answer(answers({"a": [0, 1]}))
    assert pool.label("a").tolist() == [0, 1]


@pytest.mark.parametrize("kind", ["image", "finding"])
def test_the_test_split_is_never_annotated(kind: str):
    pool = pool_of(kind)
    batch = {"a": [1, 0], "d": [1, 0]} if kind == "image" else {"a#left": [1], "d#left": [1]}
    with pytest.raises(UnitError, match="belongs to the test split"):
        pool.answer(answers(batch, kind))
    # nothing of the batch was taken
    assert len(pool.labelled()) == 0


@pytest.mark.parametrize(
    ("batch", "kind", "message"),
    [
        ({"nobody": [1, 0]}, "image", "'nobody' is not in this pool"),
        ({"a": [1]}, "image", "1 values for each image, expected 2"),
        ({"a": [1, 0]}, "finding", "about units of kind 'finding', the pool holds 'image'"),
    ],
)
def test_answers_that_do_not_fit_are_refused_whole(batch: dict[str, list[float]], kind: str, message: str):
    pool = pool_of()
    with pytest.raises(UnitError, match=message):
        pool.answer(answers(batch, kind))
    assert len(pool.labelled()) == 0


def test_answers_can_be_checked_without_recording_them():
    pool = pool_of()
    pool.check(answers({"a": [1, 0]}))
    assert not pool.is_paid(0)
    with pytest.raises(UnitError, match="1 values for each image, expected 2"):
        pool.check(answers({"a": [1]}))


def test_a_unit_named_twice_in_one_batch_is_refused():
    with pytest.raises(UnitError, match="names a unit twice"):
        pool_of().answer(Annotations(("a", "a"), torch.ones(2, 2), "image", (1.0, 1.0), "x"))


@pytest.mark.parametrize("value", [2.0, -0.5, -2.0, math.inf, -math.inf])
def test_a_value_that_is_no_label_is_refused(value: float):
    with pytest.raises(UnitError, match=f"an answer is {value:g}; expected 1, 0"):
        answers({"a": [value, 0]})


def test_every_kind_of_label_is_taken():
    pool = pool_of()
    pool.answer(answers({"a": [0.25, -1], "b": [NAN, 1]}))
    assert pool.label("a").tolist() == [0.25, -1]
    assert answers({"a": [0.25, -1], "b": [NAN, 1]}).mask.tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize(("ids", "seconds"), [(("a", "b"), (1.0,)), (("a",), (1.0, 1.0))])
def test_one_line_and_one_time_for_each_id(ids: tuple[str, ...], seconds: tuple[float, ...]):
    with pytest.raises(UnitError, match="expected one row and one time for each id"):
        Annotations(ids, torch.ones(2, 2), "image", seconds, "x")


def test_a_later_answer_supersedes_and_both_are_kept():
    pool = pool_of()
    pool.answer(answers({"a": [1, 0]}, annotator="first"))
    pool.round = 2
    pool.answer(answers({"a": [0, NAN]}, annotator="first"))
    assert pool.label("a").nan_to_num(-9).tolist() == [0, 0]  # a blank cell corrects nothing
    found = pool.opinions("a")
    assert [(o.annotator, o.round) for o in found] == [("first", 0), ("first", 2)]
    assert found[0].values.tolist() == [1, 0]
    assert len(pool.table()) == 1


def test_answers_are_copies_on_the_way_in_and_out():
    pool = pool_of()
    target = torch.tensor([[1.0, 0.0]])
    pool.answer(Annotations(("a",), target, "image", (1.0,), "x"))
    target.zero_()
    pool.label("a").fill_(7)
    pool.table().target.fill_(7)
    assert pool.label("a").tolist() == [1, 0]


def test_answers_are_stored_as_float32_whatever_the_annotator_sent():
    pool = pool_of()
    pool.answer(Annotations(("a",), torch.tensor([[1, 0]]), "image", (1.0,), "x"))
    assert pool.label("a").dtype == torch.float32


def test_retired_units_leave_the_candidates_for_good():
    pool = pool_of()
    pool.retire(["e", "a"])
    assert pool.units.names(pool.candidates()) == ["b"]
    assert pool.retired == ("a", "e")
    with pytest.raises(UnitError, match="'nobody' is not in this pool"):
        pool.retire(["nobody"])


def test_table_has_nan_where_nothing_was_paid():
    pool = pool_of("finding")
    pool.answer(answers({"e#left": [1], "a#right": [0], "a#left": [-1], "c#right": [1]}, "finding"))
    table = pool.table()
    assert table.rows.tolist() == [0, 4]
    assert table.target.nan_to_num(-9).tolist() == [[-1, 0], [1, -9]]
    held_out = pool.table("validation")
    assert (held_out.rows.tolist(), held_out.target.nan_to_num(-9).tolist()) == ([2], [[-9, 1]])


def test_table_of_an_unpaid_pool_is_empty_with_its_width():
    table = pool_of().table()
    assert (len(table), table.target.shape) == (0, (0, 2))


def test_labelled_is_told_by_part_in_canonical_order():
    pool = pool_of()
    pool.answer(answers({"e": [1, 0], "c": [0, 0], "a": [1, 1]}))
    assert pool.units.names(pool.labelled()) == ["a", "e"]
    assert pool.units.names(pool.labelled("validation")) == ["c"]


def test_positives_and_prevalence_count_hard_answers_of_the_pool_part():
    pool = pool_of()
    assert pool.prevalence().tolist() == [0.5, 0.5]
    pool.answer(answers({"a": [1, NAN], "b": [0, -1], "e": [1, 0.5], "c": [0, 1]}))
    assert pool.positives().tolist() == [2, 0]
    # Jeffreys: (0.5 + 2) / (1 + 3), and nothing but the prior for the other label
    assert pool.prevalence().tolist() == [0.625, 0.5]


def test_split_and_units_must_list_the_same_rows():
    with pytest.raises(UnitError, match="split and units list different rows"):
        Pool(Units("image", ROWS, ROWS), LABELS, Split(ROWS[:4], ROWS[:4], PARTS[:4]))


def test_readers_who_differ_train_by_the_rule():
    pool = replace(pool_of(), consensus=Consensus("soft"))
    pool.answer(answers({"a": [1, 0]}, annotator="R1"))
    pool.answer(answers({"a": [0, NAN]}, annotator="R2"))
    assert pool.table().target.tolist() == [[0.5, 0.0]]
    pool = replace(pool_of(), consensus=Consensus("reader", "R2"))
    pool.answer(answers({"a": [1, 0]}, annotator="R1"))
    assert pool.table().target.isnan().all()
    pool.answer(answers({"a": [0, 1]}, annotator="R2"))
    assert pool.table().target.tolist() == [[0.0, 1.0]]


def test_imported_labels_train_but_do_not_stand_for_the_validation_arm():
    pool = pool_of()
    name = pool.units.ids[int(pool.split.positions("validation")[0])]
    pool.answer(answers({"a": [1, 0], name: [1, 1]}, annotator="clinic"), "imported")
    assert len(pool.table()) == 1
    assert len(pool.table("validation")) == 0
    pool.answer(answers({name: [1, 1]}, annotator="R1"), "validation")
    assert len(pool.table("validation")) == 1


def test_a_retired_unit_trains_no_more_until_it_is_brought_back():
    pool = pool_of()
    pool.answer(answers({"a": [1, 0], "b": [0, 0]}))
    assert len(pool.table()) == 2
    pool.retire(["a"])
    assert pool.units.names(pool.labelled()) == ["b"]
    assert len(pool.table()) == 1
    pool.bring_back(["a"])
    assert len(pool.table()) == 2
    assert pool.retired == ()


def test_units_that_await_an_answer_are_no_candidates():
    pool = pool_of()
    pool.answer(answers({"b": [1, 0]}))
    waiting = pool.awaiting(["a", "b"])
    assert waiting.units.names(waiting.candidates()) == ["e"]
    assert waiting.units.names(waiting.labelled()) == ["b"]
    assert pool.units.names(pool.candidates()) == ["a", "e"]
