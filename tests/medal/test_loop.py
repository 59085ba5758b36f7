"""The campaign: honest, repeatable, and better than random only where there is something to find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import VectorSource, campaign, hard_rows, planted

from medal.errors import ConfigError, MissingOutput, StudyError, UnitError
from medal.loop import ActiveLoop
from medal.sampling import LabelStratified, RandomSampler, TopK
from medal.source import Truth
from medal.strategy import Step, Strategy
from medal.study import Study
from medal.uncertainty import BALD, BetaEpistemic, Entropy


def strategies() -> dict[str, tuple[Strategy, str]]:
    return {
        "random": (Strategy(Step(RandomSampler()), name="random"), "sigmoid"),
        "entropy": (Strategy(Step(TopK(), Entropy()), name="entropy"), "sigmoid"),
        "beta": (Strategy(Step(TopK(), BetaEpistemic()), name="beta"), "beta"),
        "bald": (Strategy(Step(TopK(), BALD()), name="bald"), "mc"),
        "stratified": (Strategy(Step(LabelStratified(), Entropy()), name="stratified"), "sigmoid"),
    }


def last(holder: ActiveLoop | Study, kind: str) -> dict[str, Any]:
    study = holder if isinstance(holder, Study) else holder.study
    event = study.ledger.last(kind)
    assert event is not None
    return event.content


def picks(loop) -> list[tuple[int, str, list[str]]]:
    return [(e.content["round"], e.content["purpose"], e.content["ids"]) for e in loop.study.ledger.events("asked")]


def play(folder: Path, name: str, source: VectorSource, truth: Truth, **settings):
    strategy, head = strategies()[name]
    loop = campaign(folder, strategy, source=source, truth=truth, head=head, **settings)
    loop.run()
    loop.study.close()
    return loop


def reopened(folder: Path, name: str, source: VectorSource, truth: Truth, **settings):
    strategy, head = strategies()[name]
    return campaign(folder, strategy, source=source, truth=truth, head=head, **settings)


def test_a_campaign_plays_its_rounds_and_charges_everything(tmp_path: Path) -> None:
    source, truth = planted(160, seed=1)
    loop = play(tmp_path / "s", "entropy", source, truth, rounds=3, per_round=8, start=12, validation=6)
    with reopened(tmp_path / "s", "entropy", source, truth).study as study:
        events = [e.kind for e in study.ledger.events()]
        assert events == [
            "opened",
            *["asked", "answered"] * 2,
            *["trained", "evaluated", "asked", "answered"] * 3,
            "trained",
            "evaluated",
            "closed",
        ]
        measured = last(study, "evaluated")
    assert measured["spent"]["items"] == 6 + 12 + 24
    # the price of an image is refitted from simulated times around one minute
    assert 42 * 0.8 < measured["spent"]["minutes"] < 42 * 1.3
    assert measured["labelled"] == {"items": 36, "rows": 36}
    asked = [i for _, _, ids in picks_of(tmp_path / "s", source, truth) for i in ids]
    assert len(asked) == len(set(asked)) == 42
    assert loop.pool.round == 3


def picks_of(folder: Path, source: VectorSource, truth: Truth):
    loop = reopened(folder, "entropy", source, truth)
    found = picks(loop)
    loop.study.close()
    return found


@pytest.mark.parametrize("name", sorted(strategies()))
def test_corrupting_every_unpaid_and_test_label_changes_no_pick(tmp_path: Path, name: str) -> None:
    source, truth = planted(120, seed=2)
    clean = play(tmp_path / "clean", name, source, truth, rounds=2)
    paid = {p for p in range(len(source.ids)) if clean.pool.is_paid(p)}
    unpaid = torch.tensor([p for p in range(len(source.ids)) if p not in paid])
    poisoned = truth.values.clone()
    poisoned[unpaid] = 1 - poisoned[unpaid]
    other = play(tmp_path / "poisoned", name, source, Truth(truth.labels, poisoned), rounds=2)
    a, b = reopened(tmp_path / "clean", name, source, truth), reopened(tmp_path / "poisoned", name, source, truth)
    assert picks(a) == picks(b)
    # the poison did reach the exam, so it was poison
    assert last(a.study, "evaluated")["macro"] != last(b.study, "evaluated")["macro"]
    assert other.pool.round == 2
    a.study.close()
    b.study.close()


def test_shuffling_the_input_order_changes_no_pick(tmp_path: Path) -> None:
    source, truth = planted(120, seed=3)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0)).tolist()
    # a source sorts its ids, so a shuffled folder comes out in the same order
    ranked = sorted(range(120), key=lambda i: source.ids[order[i]])
    back = [order[i] for i in ranked]
    shuffled = VectorSource(
        source.vectors[back], source.labels, tuple(source.ids[i] for i in back), tuple(source.groups[i] for i in back)
    )
    play(tmp_path / "a", "entropy", source, truth, rounds=2)
    play(tmp_path / "b", "entropy", shuffled, Truth(truth.labels, truth.values[back]), rounds=2)
    a, b = reopened(tmp_path / "a", "entropy", source, truth), reopened(tmp_path / "b", "entropy", source, truth)
    assert picks(a) == picks(b)
    assert a.study.ledger.head() == b.study.ledger.head()
    a.study.close()
    b.study.close()


def test_the_global_random_state_plays_no_part(tmp_path: Path) -> None:
    source, truth = planted(120, seed=4)
    heads = []
    for n in range(2):
        torch.manual_seed(n)
        np.random.seed(n)  # noqa: NPY002 - the legacy state is what must not matter
        play(tmp_path / str(n), "bald", source, truth, rounds=1)
        loop = reopened(tmp_path / str(n), "bald", source, truth)
        heads.append(loop.study.ledger.head())
        loop.study.close()
    assert heads[0] == heads[1]


def test_another_seed_draws_another_start_set(tmp_path: Path) -> None:
    source, truth = planted(120, seed=4)
    sets = []
    for seed in (0, 1):
        play(tmp_path / str(seed), "random", source, truth, rounds=1, seed=seed)
        loop = reopened(tmp_path / str(seed), "random", source, truth, seed=seed)
        sets.append(picks(loop)[1][2])
        loop.study.close()
    assert sets[0] != sets[1]


def test_findings_are_asked_one_by_one_and_train_alone(tmp_path: Path) -> None:
    source, truth = planted(120, seed=5)
    loop = play(tmp_path / "s", "beta", source, truth, kind="finding", rounds=2, per_round=7)
    reopen = reopened(tmp_path / "s", "beta", source, truth, kind="finding")
    asked = [ids for _, purpose, ids in picks(reopen) if purpose == "query"]
    spent = last(reopen.study, "evaluated")["spent"]
    reopen.study.close()
    assert all("#" in unit for ids in asked for unit in ids)
    assert [len(ids) for ids in asked] == [7, 7]
    # 6 validation and 12 start images at a minute each, 14 single findings at 0.2 minutes, refitted by simulated times
    assert spent["items"] == 6 + 12 + 14
    assert 18 + 14 * 0.2 * 0.7 < spent["minutes"] < 18 + 14 * 0.2 * 1.4
    assert torch.isnan(loop.pool.table().target).any()


def test_a_budget_in_minutes_buys_more_findings_than_images(tmp_path: Path) -> None:
    source, truth = planted(120, seed=5)
    images = play(tmp_path / "i", "beta", source, truth, rounds=1, per_round=4, unit="minutes")
    findings = play(tmp_path / "f", "beta", source, truth, kind="finding", rounds=1, per_round=4, unit="minutes")
    assert 3 <= len(images.pool.labelled()) - 12 <= 5
    assert 14 <= len(findings.pool.labelled()) - 24 <= 26


def test_a_pool_that_runs_dry_closes_the_campaign(tmp_path: Path) -> None:
    source, truth = planted(40, seed=6)
    loop = play(tmp_path / "s", "entropy", source, truth, rounds=30, per_round=8, start=6, validation=0)
    assert not len(loop.pool.candidates())
    study = reopened(tmp_path / "s", "entropy", source, truth).study
    assert last(study, "closed")["reason"] == "every candidate was labelled"
    study.close()


def test_lost_weights_are_trained_again(tmp_path: Path) -> None:
    source, truth = planted(120, seed=7)
    strategy, head = strategies()["entropy"]
    loop = campaign(tmp_path / "s", strategy, source=source, truth=truth, head=head, rounds=1)
    while loop.study.ledger.last("trained") is None:
        loop.step()
    path = loop.study.weights_path(0)
    loop.study.close()
    path.write_bytes(path.read_bytes()[:-20])
    again = reopened(tmp_path / "s", "entropy", source, truth, rounds=1)
    again.run()
    interrupted = again.study.ledger.head()
    again.study.close()
    play(tmp_path / "whole", "entropy", source, truth, rounds=1)
    whole = reopened(tmp_path / "whole", "entropy", source, truth, rounds=1)
    assert whole.study.ledger.head() == interrupted
    whole.study.close()


def test_weights_lost_after_the_end_are_trained_again(tmp_path: Path) -> None:
    source, truth = planted(120, seed=7)
    play(tmp_path / "s", "entropy", source, truth, rounds=1)
    loop = reopened(tmp_path / "s", "entropy", source, truth, rounds=1)
    head, path = loop.study.ledger.head(), loop.study.weights_path(1)
    path.unlink()
    loop.run()
    loop.study.load_weights(1)
    assert loop.study.ledger.head() == head
    loop.study.close()


def test_a_machine_that_trains_differently_is_told(tmp_path: Path) -> None:
    source, truth = planted(120, seed=7)
    strategy, head = strategies()["entropy"]
    loop = campaign(tmp_path / "s", strategy, source=source, truth=truth, head=head, rounds=1)
    while loop.study.ledger.last("trained") is None:
        loop.step()
    path = loop.study.weights_path(0)
    loop.study.close()
    path.unlink()
    again = reopened(tmp_path / "s", "entropy", source, truth, rounds=1, steps=61)
    with pytest.raises(StudyError, match="gave other weights than the journal has"):
        again.run()
    again.study.close()


def test_the_test_split_can_never_be_answered(tmp_path: Path) -> None:
    source, truth = planted(120, seed=7)
    loop = reopened(tmp_path / "s", "entropy", source, truth)
    row = int(loop.pool.split.positions("test")[0])
    from medal.pool import Annotations

    with pytest.raises(UnitError, match="test split"):
        loop.pool.answer(Annotations((source.ids[row],), torch.ones(1, 2), "image", (1.0,), "someone"))
    loop.study.close()


def test_missing_output_names_the_part_to_add(tmp_path: Path) -> None:
    source, truth = planted(120, seed=7)
    loop = campaign(tmp_path / "s", Strategy(Step(TopK(), BALD()), name="bald"), source=source, truth=truth)
    with pytest.raises(MissingOutput, match=r"needs 'draws'.*MCDropout"):
        loop.run()
    loop.study.close()


def test_a_learner_without_training_refuses_to_predict(tmp_path: Path) -> None:
    source, truth = planted(120, seed=7)
    loop = reopened(tmp_path / "s", "entropy", source, truth)
    with pytest.raises(ConfigError, match="not trained yet"):
        loop.learner.state_dict()
    loop.study.close()


def _area(folder: Path, name: str, source: VectorSource, truth: Truth, seed: int, exam: Truth | None = None) -> float:
    settings = {
        "rounds": 4,
        "per_round": 6,
        "start": 10,
        "validation": 0,
        "steps": 80,
        "exam": exam,
        "min_positives": 3,
    }
    play(folder, name, source, truth, seed=seed, **settings)
    loop = reopened(folder, name, source, truth, seed=seed)
    curve = [e.content["macro"]["auroc"] for e in loop.study.ledger.events("evaluated")]
    loop.study.close()
    return float(np.mean(curve))


def test_uncertainty_beats_random_where_signal_was_planted(tmp_path: Path) -> None:
    """Most units repeat what is known; the rare ones at the border are the exam. Six pairs, all must be won."""
    differences = []
    for seed in range(6):
        source, truth = planted(600, seed=100 + seed)
        values = truth.values.clone()
        values[~hard_rows(source)] = float("nan")
        exam = Truth(truth.labels, values)
        ours = _area(tmp_path / f"e{seed}", "entropy", source, truth, seed, exam)
        theirs = _area(tmp_path / f"r{seed}", "random", source, truth, seed, exam)
        differences.append(ours - theirs)
    assert min(differences) > 0, differences
    assert np.mean(differences) > 0.05, differences


def test_nothing_beats_random_on_pure_noise(tmp_path: Path) -> None:
    """Labels are coins: every curve stays at one half, and the paired difference has no sign."""
    differences, level = [], []
    for seed in range(6):
        source, truth = planted(400, seed=200 + seed, noise=True)
        ours = _area(tmp_path / f"e{seed}", "entropy", source, truth, seed)
        theirs = _area(tmp_path / f"r{seed}", "random", source, truth, seed)
        differences.append(ours - theirs)
        level += [ours, theirs]
    assert abs(np.mean(level) - 0.5) < 0.03
    spread = np.std(differences, ddof=1) / np.sqrt(len(differences))
    assert abs(np.mean(differences)) < 4.03 * spread  # two-sided 99 % of t with 5 degrees of freedom


def test_a_budget_that_no_longer_pays_for_a_unit_closes_the_campaign(tmp_path: Path) -> None:
    source, truth = planted(120, seed=7)
    # half a minute does not pay for an image that takes about one
    play(tmp_path / "s", "entropy", source, truth, rounds=40, per_round=0.5, unit="minutes")
    study = reopened(tmp_path / "s", "entropy", source, truth, rounds=40, per_round=0.5, unit="minutes").study
    assert "pay for none" in last(study, "closed")["reason"]
    study.close()
