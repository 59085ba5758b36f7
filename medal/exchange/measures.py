"""What a training has brought, for a clinic: labels by finding, and AUROC on the random arm with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medal.examine import ARM_POSITIVES, decided
from medal.seeding import Seed

if TYPE_CHECKING:
    from medal.human import HumanCampaign


@dataclass(frozen=True)
class Row:
    """One finding.

    Args:
        label: its name.
        present: positives among the labels that train.
        absent: negatives among them.
        arm_present: positives of the random arm.
        arm_absent: negatives of it.
        auroc: on the arm; None where it has too few of either.
        low: lower end of the 95 % bootstrap interval over patients; None likewise.
        high: upper end.
    """

    label: str
    present: int
    absent: int
    arm_present: int
    arm_absent: int
    auroc: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Measures:
    """All findings.

    Args:
        trained: images that train.
        measured: images of the arm.
        needed: positives, and negatives, below which nothing is said.
        rows: one a finding.
    """

    trained: int
    measured: int
    needed: int
    rows: tuple[Row, ...]


def measures(campaign: HumanCampaign) -> Measures:
    """Counts labels and measures the last model on the arm.

    Args:
        campaign: with a model.
    """
    from medal.metrics.cluster_bootstrap import macro_interval

    train, arm = campaign.pool.table(), campaign.pool.table("validation")
    groups = [campaign.source.groups[row] for row in arm.rows.tolist()]
    told = campaign.probabilities(arm.rows) if len(arm) else None
    rows = []
    for k, name in enumerate(campaign.pool.labels):
        mine, theirs = train.target[:, k], decided(arm.target[:, k])
        present, absent = int((theirs == 1).sum()), int((theirs == 0).sum())
        auroc, low, high = None, None, None
        if told is not None and min(present, absent) >= ARM_POSITIVES:
            hard = theirs.clone()
            hard[hard == -1] = math.nan
            found = macro_interval(
                told[:, k : k + 1].numpy(),
                hard[:, None].numpy(),
                groups,
                Seed(0) / "interval" / name,
                min_positives=ARM_POSITIVES,
            )
            auroc, low, high = found.value, found.low, found.high
        rows.append(Row(name, int((mine == 1).sum()), int((mine == 0).sum()), present, absent, auroc, low, high))
    return Measures(len(train), len(arm), ARM_POSITIVES, tuple(rows))
