from __future__ import annotations

from medal.report.history import Answer, Batch, Pick, RunHistory, StudyHistory
from medal.report.selection import label_comparison
from medal.report.selection_tables import label_share_table, spread_table

UNITS = {u: {"id": u, "group": "P1" if u in "ab" else u, "split": "pool"} for u in "abcd"}


def study(arm: str, units: str, present: float) -> StudyHistory:
    batch = Batch(1, "query", arm, tuple(Pick(u, 0.5) for u in units), len(units), 1.0)
    answers = tuple(Answer(u, 1, "query", (present,), 60.0, "A") for u in units)
    return StudyHistory(arm, 0, {"data": {"labels": ["Mass"]}}, batches=(batch,), answers=answers, units=UNITS)


RUN = RunHistory("r", (study("epistemic", "ab", 1.0), study("random", "cd", 0.0)))


def test_shares_stand_beside_the_estimate_and_its_interval():
    comparison = label_comparison(RUN)
    assert comparison is not None
    table = label_share_table(RUN, comparison)
    assert table.columns == ("Label", "Pool (estimate)", "random", "epistemic")
    (row,) = table.rows
    # 0 of 2: the upper Wilson end is z^2 / (2 + z^2) = 0.6576
    assert [(cell.text, cell.note) for cell in row[1:]] == [("0 %", "0 % to 66 %"), ("0 %", ""), ("100 %", "")]
    assert "2 units drawn at random" in table.caption


def test_spread_counts_patients_and_tells_what_is_usual():
    table = spread_table(RUN)
    assert table is not None
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["random", "2", "2", "1.00", "1", "0.00"],
        ["epistemic", "2", "1", "0.50", "2", "1.00"],
    ]
    assert "Units drawn at random have 0.00 findings per image." in table.caption
    assert spread_table(RunHistory("r", (StudyHistory("random", 0),))) is None
