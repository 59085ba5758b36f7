"""Whether a learner will give what a strategy needs, asked before anything is paid for."""

from __future__ import annotations

from medal.learners.protocol import Learner
from medal.outputs import Outputs
from medal.strategy import Strategy


def check_needs(strategy: Strategy, learner: Learner) -> None:
    """Compares a strategy's needs with the outputs that an untrained learner says it will offer.

    Args:
        strategy: what will ask.
        learner: built, not yet trained; one without the attribute `offers` (names of outputs) is asked when it is
            trained.

    Raises:
        MissingOutput: naming the strategy's step, what it needs, and what to add to the learner.
    """
    offers = getattr(learner, "offers", None)
    if offers is None:
        return
    outputs = Outputs(offers, lambda *_: {})
    for number, step in enumerate(strategy.steps, 1):
        outputs.resolve(step.needs, f"{strategy.name}, step {number}")
