"""Needs: told before anything is paid for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medal.errors import MissingOutput
from medal.needs import check_needs
from medal.recipe import load
from medal.run import INDEX, execute, plan
from medal.sampling import TopK
from medal.strategy import Step, Strategy
from medal.uncertainty import BALD, Entropy


def learner(**attributes: Any) -> Any:
    return SimpleNamespace(**attributes)


def test_every_step_is_asked() -> None:
    strategy = Strategy(Step(TopK(), Entropy(), keep=50), Step(TopK(), BALD()), name="mine")
    check_needs(strategy, learner(offers={"marginals", "draws"}))
    check_needs(strategy, learner())  # says nothing: asked when it is trained
    with pytest.raises(MissingOutput, match=r"^mine, step 2 needs 'draws'; the learner gives marginals; lay `learner"):
        check_needs(strategy, learner(offers={"marginals"}))
    with pytest.raises(MissingOutput, match=r"^mine, step 1 needs 'prediction'"):
        check_needs(strategy, learner(offers={"features", "draws"}))


@pytest.mark.parametrize(
    ("strategy", "missing"),
    [
        ("[{score: {use: medal.uncertainty.BetaEpistemic}, sampler: {use: medal.sampling.TopK}}]", "'evidence'"),
        ("[{score: {use: medal.uncertainty.BALD}, sampler: {use: medal.sampling.TopK}}]", "'draws'"),
    ],
)
def test_a_run_that_cannot_ask_buys_nothing(strategy: str, missing: str, tmp_path: Path) -> None:
    plain = ["learner.parts.head={use: medal.learners.Sigmoid}", "learner.parts.members=null", "baselines=[]"]
    recipe = load("chest_xray", [*plain, f"strategy={strategy}"], smoke=True)
    run = plan("chest_xray", recipe, tmp_path / "run")
    with pytest.raises(MissingOutput, match=missing):
        execute(run)
    assert not (tmp_path / "run" / INDEX).exists()
    assert not (tmp_path / "run" / "studies").exists()
