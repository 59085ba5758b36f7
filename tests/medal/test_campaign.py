"""A campaign's state and steps: what the journal holds is all that there is, for people as for simulated experts."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from toy import VectorSource, campaign, planted

from medal.errors import StudyError, UnitError
from medal.loop import ActiveLoop
from medal.metrics.classification import evaluate_multilabel
from medal.pool import Annotations
from medal.sampling import RandomSampler
from medal.source import Truth
from medal.strategy import Step, Strategy

SET = planted(120, seed=3)


def opened(folder: Path, source: VectorSource = SET[0], truth: Truth = SET[1]) -> ActiveLoop:
    strategy = Strategy(Step(RandomSampler()), name="random")
    return campaign(folder, strategy, source=source, truth=truth, rounds=1, steps=10, validation=8)


def answers(loop: ActiveLoop, rows: list[int], reader: str = "R1", seconds: float = math.nan) -> Annotations:
    ids = tuple(loop.pool.units.ids[r] for r in rows)
    return Annotations(ids, SET[1].values[rows], "image", (seconds,) * len(ids), reader)


def test_stored_predictions_give_the_measures_again_without_training(tmp_path: Path):
    loop = opened(tmp_path / "s")
    loop.run()
    event = loop.study.ledger.last("evaluated")
    assert event is not None
    ids, probabilities = loop.study.load_predictions(1, "test")
    assert ids == tuple(loop.pool.units.rows[r] for r in loop.pool.split.positions("test").tolist())
    truth = SET[1].values[loop.pool.units.positions(ids)]
    again = evaluate_multilabel(torch.from_numpy(probabilities), truth, SET[1].labels, 5)
    assert again["macro"] == event.content["macro"]
    assert again["labels"] == event.content["labels"]
    loop.study.close()


def test_the_validation_arm_is_measured_with_the_labels_that_were_paid_for(tmp_path: Path):
    loop = opened(tmp_path / "s")
    loop.run()
    event = loop.study.ledger.last("evaluated")
    assert event is not None
    ids, probabilities = loop.study.load_predictions(1, "validation")
    asked = next(e for e in loop.study.ledger.events("asked") if e.content["purpose"] == "validation")
    assert sorted(ids) == sorted(asked.content["ids"])
    told = torch.stack([loop.pool.label(i) for i in ids])
    again = evaluate_multilabel(torch.from_numpy(probabilities), told, SET[1].labels, 5)
    assert again == {k: event.content["validation"][k] for k in again}
    loop.study.close()


def test_a_draw_leaves_out_what_was_answered_or_retired(tmp_path: Path):
    loop = opened(tmp_path / "s")
    rows = loop.pool.split.positions("pool").tolist()
    loop.record(answers(loop, rows[:5]), "imported", "image")
    loop.retire([loop.pool.units.ids[r] for r in rows[5:7]], "blurred", "R1")
    drawn = loop.draw("pool", 10**6, "start")
    assert list(drawn.ids) == [loop.pool.units.ids[r] for r in rows[7:]]
    assert drawn.terms[0]["candidates"] == len(rows) - 7
    loop.study.close()


def test_times_of_people_stay_out_of_the_content_and_still_set_the_price(tmp_path: Path):
    loop = opened(tmp_path / "s")
    rows = loop.pool.split.positions("pool").tolist()[:40]
    loop.record(answers(loop, rows, seconds=30.0), "query", "image", measured=True)
    event = loop.study.ledger.last("answered")
    assert event is not None
    assert event.content["seconds"] == [None] * 40
    assert event.aside["seconds"] == [30.0] * 40
    price = loop.prices.of("image")
    assert 0.5 < price < 0.75  # 40 readings of half a minute against a prior of one minute
    loop.study.close()
    again = opened(tmp_path / "s")
    assert again.prices.of("image") == price
    again.study.close()


def test_imported_labels_say_nothing_about_the_price(tmp_path: Path):
    loop = opened(tmp_path / "s")
    before = loop.prices.of("image")
    loop.record(answers(loop, loop.pool.split.positions("pool").tolist()[:40], seconds=1.0), "imported", "image")
    assert loop.prices.of("image") == before
    loop.study.close()


def test_training_again_after_new_answers_is_a_training_of_its_own(tmp_path: Path):
    loop = opened(tmp_path / "s")
    rows = loop.pool.split.positions("pool").tolist()
    loop.record(answers(loop, rows[:20]), "query", "image")
    loop.train()
    first = loop.study.ledger.last("trained")
    loop.train()  # nothing new: the same training
    assert len(list(loop.study.ledger.events("trained"))) == 1
    loop.record(answers(loop, rows[20:40]), "query", "image")
    loop.train()
    second = loop.study.ledger.last("trained")
    assert first is not None
    assert second is not None
    assert first.content["weights"] != second.content["weights"]
    assert (first.content["rows"], second.content["rows"]) == (20, 40)
    expected = loop.outputs.get("marginals", torch.arange(10))
    loop.study.close()
    again = opened(tmp_path / "s")
    again.restore()
    assert torch.equal(again.outputs.get("marginals", torch.arange(10)), expected)
    again.study.close()


def test_lost_weights_are_made_again_only_from_the_same_labels(tmp_path: Path):
    loop = opened(tmp_path / "s")
    rows = loop.pool.split.positions("pool").tolist()
    loop.record(answers(loop, rows[:20]), "query", "image")
    loop.train()
    loop.study.close()
    loop.study.weights_path(0).unlink()
    again = opened(tmp_path / "s")
    again.restore()
    assert again.study.weights_path(0).is_file()
    again.record(answers(again, rows[20:30]), "query", "image")
    again.study.close()
    again.study.weights_path(0).unlink()
    third = opened(tmp_path / "s")
    with pytest.raises(StudyError, match="missing"):
        third.restore()
    third.train()  # and a new training is always possible
    third.study.close()


def test_what_the_pool_cannot_take_is_not_written(tmp_path: Path):
    loop = opened(tmp_path / "s")
    events = len(loop.study.ledger)
    test_row = int(loop.pool.split.positions("test")[0])
    with pytest.raises(UnitError, match="test split"):
        loop.record(answers(loop, [test_row]), "query", "image")
    with pytest.raises(UnitError, match="not in this pool"):
        loop.retire(["nobody"], "blurred", "R1")
    assert len(loop.study.ledger) == events
    loop.study.close()


def test_nothing_can_be_restored_before_a_training(tmp_path: Path):
    loop = opened(tmp_path / "s")
    with pytest.raises(StudyError, match="nothing was trained yet"):
        loop.restore()
    loop.study.close()
