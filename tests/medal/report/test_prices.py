from __future__ import annotations

import pytest

from medal.report.history import Batch, RunHistory, StudyHistory
from medal.report.prices import price_sentence, price_stability, price_table


def batches(items: float, minutes: float, kind: str, rounds: int = 3) -> tuple[Batch, ...]:
    start = Batch(0, "start", "random", (), 100, 100, kind="image")
    return start, *(Batch(n, "query", "a", (), items, minutes, kind=kind) for n in range(1, rounds))


@pytest.fixture
def run(make_history) -> RunHistory:
    """Images at a minute each, ten a round, against findings at a fifth of a minute, fifty a round."""
    images = make_history("images", 0, [0.60, 0.70, 0.80], batches=batches(10, 10, "image"))
    findings = make_history("findings", 0, [0.60, 0.69, 0.79], batches=batches(50, 10, "finding"))
    return RunHistory("r", (images, findings))


def test_a_ranking_that_hangs_on_a_price_is_said(run):
    found = price_stability(run)
    assert found is not None
    assert found.stated.order == ("images", "findings")
    assert price_sentence(found) == (
        "The order of the arms (images, findings) hangs on the prices: it is another one with finding halved; "
        "image doubled."
    )
    rows = {row[0].text: [cell.text for cell in row] for row in price_table(run, found).rows}
    assert rows["as planned"] == ["as planned", "0.7000", "0.6925", "images > findings"]
    assert rows["finding halved"][3] == "findings > images"
    assert len(rows) == 5


def test_one_kind_cannot_turn_it(make_history):
    arms = [make_history(n, 0, v, batches=batches(10, 10, "image")) for n, v in (("a", [0.6, 0.7]), ("b", [0.5, 0.6]))]
    found = price_stability(RunHistory("r", tuple(arms)))
    assert found is not None
    assert found.stable
    assert price_sentence(found).startswith("Halving and doubling the minutes for one image leaves the order")
    assert "cannot be otherwise" in price_sentence(found)


def test_prices_are_those_that_were_planned(make_history):
    # the queries were planned at 3 minutes an image, the start at 1: 120 images for 160 minutes
    arms = [make_history(n, 0, [0.6, 0.7], batches=batches(20, 60, "image", 2)) for n in "ab"]
    found = price_stability(RunHistory("r", tuple(arms)))
    assert found is not None
    assert found.stated.areas == pytest.approx({"a": 0.65, "b": 0.65})


def test_two_arms_in_one_block_are_needed(run, make_history):
    assert price_stability(RunHistory("r", run.studies[:1])) is None
    other = make_history("findings", 1, [0.6, 0.7], batches=batches(50, 10, "finding"))
    assert price_stability(RunHistory("r", (run.studies[0], other))) is None
    assert price_stability(RunHistory("r", (make_history("a", 0, [0.5]), make_history("b", 0, [0.5])))) is None
    assert price_stability(RunHistory("r", (StudyHistory("a", 0), StudyHistory("b", 0)))) is None
