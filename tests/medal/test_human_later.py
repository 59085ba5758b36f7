"""What comes up in the weeks of a study: files told again, damaged weights, labels that are disputed for good."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from clinic import clinic, fill, first, partly, patients, truth_of

from medal.errors import StudyError
from medal.exchange.asking import Wish
from medal.human import HumanCampaign

SOURCE, TRUTH = patients(80)
RIGHT = truth_of(SOURCE, TRUTH)


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))


def worklist(campaign: HumanCampaign, wish: Wish | None = None) -> Path:
    return campaign.write_list(campaign.ask(wish or Wish(8))).files[0]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as handle:
        return list(csv.DictReader(handle))


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def in_pool(campaign: HumanCampaign, row: dict[str, str]) -> bool:
    return campaign.pool.split.parts[campaign.source.ids.index(row["id"])] == "pool"


def test_rows_that_were_refused_are_taken_when_the_same_file_is_told_again(tmp_path: Path) -> None:
    """The file names images that came into the folder after it was told first."""
    with (campaign := clinic(tmp_path / "s", first(SOURCE, 60))).study:
        asked = read(fill(worklist(campaign), RIGHT, to=tmp_path / "asked.csv"))
        empty = dict.fromkeys(asked[0], "")
        late = [
            {**empty, "id": i, "left": str(RIGHT[i]["left"]), "right": str(RIGHT[i]["right"]), "reader": "R1"}
            for i in SOURCE.ids[60:]
        ]
        file = written(tmp_path / "answers.csv", [*asked, *late])
        before = campaign.tell(file, extra=True)
        assert (before.taken, len(before.refused)) == (8, 20)
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        wrong = str(1 - int(asked[7]["left"]))
        campaign.tell(written(tmp_path / "corrected.csv", [{**asked[7], "left": wrong}]))
        again = campaign.tell(file, extra=True)
        fresh = sum(campaign.pool.split.parts[SOURCE.ids.index(row["id"])] == "pool" for row in late)
        assert (again.taken, again.unchanged) == (fresh, 8)
        assert len(again.refused) == 20 - fresh, "images that measure are taken when they are drawn alone"
        assert campaign.pool.label(asked[7]["id"])[0] == float(wrong), "an old file undoes no correction"
        head = campaign.study.ledger.head()
        third = campaign.tell(file, extra=True)
        assert (third.taken, third.unchanged, len(third.refused)) == (0, 8 + fresh, 20 - fresh)
        assert campaign.study.ledger.head() == head


@pytest.mark.parametrize("warm", [False, True])
def test_damaged_weights_are_trained_again(tmp_path: Path, warm: bool) -> None:
    def opened() -> HumanCampaign:
        campaign = clinic(tmp_path / "s", SOURCE)
        campaign.learner.warm = warm
        return campaign

    with (campaign := opened()).study:
        campaign.tell(fill(worklist(campaign), RIGHT))
        campaign.learn()
        path = campaign.study.weights_path(0)
    content = bytearray(path.read_bytes())
    content[-3] ^= 255
    path.write_bytes(content)
    with (campaign := opened()).study:
        with pytest.raises(StudyError, match="run `medal train`"):
            campaign.ask(Wish(4))
        assert campaign.learn()
        campaign.ask(Wish(4))
    with (campaign := opened()).study:
        assert not campaign.learn(), "once is enough"


def test_labels_of_the_clinic_never_measure(tmp_path: Path) -> None:
    from medal.source import Opened

    campaign = clinic(tmp_path / "s", SOURCE)
    campaign.study.close()
    from medal.study import Study

    with Study.open(tmp_path / "s") as study:
        again = HumanCampaign._on(campaign.recipe, study, Opened(SOURCE, TRUTH), tmp_path / "cache")
        assert again.examine is None


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("together", [True, False])
def test_a_label_stands_against_cannot_label_in_one_file_as_in_two(tmp_path: Path, together: bool, turn: int) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        row = next(row for row in read(worklist(campaign)) if in_pool(campaign, row))
        label = {**row, "left": "1", "right": "0", "reader": "R1"}
        cannot = {**row, "cannot_label": "quality", "reader": "R2"}
        if together:
            intake = campaign.tell(written(tmp_path / "both.csv", [label, cannot][::turn]))
        else:
            campaign.tell(written(tmp_path / "label.csv", [label]))
            intake = campaign.tell(written(tmp_path / "cannot.csv", [cannot]))
        ((_, unit, what),) = intake.refused
        assert unit == row["id"]
        assert what.startswith("R1 could label it; settle it")
        assert campaign.pool.retired == ()
        assert len(campaign.pool.table()) == 1


def test_what_was_looked_at_again_is_not_asked_for_ever(tmp_path: Path) -> None:
    def flip(row: dict[str, str], number: int) -> None:
        row["left"] = str(1 - int(row["left"]))

    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        path = worklist(campaign, Wish(14, measure=0))
        campaign.tell(fill(path, RIGHT, to=tmp_path / "first.csv"))
        campaign.tell(fill(path, RIGHT, "R2", flip, tmp_path / "second.csv"))
        campaign.learn()
        seen: list[list[str]] = []
        for k in range(3):
            name = campaign.ask(Wish(5, relabel=4, measure=0))
            questions: list[dict[str, Any]] = [dict(e) for e in campaign.asked_events(name)]
            seen.append([unit for q in questions if q["purpose"] == "relabel" for unit in q["ids"]])
            assert sum(len(q["ids"]) for q in questions) == 5, "what is not looked at again is spent otherwise"
            campaign.tell(fill(campaign.write_list(name).files[0], RIGHT, to=tmp_path / f"again{k}.csv"))
        assert [len(set(ids)) for ids in seen[:2]] == [4, 4]
        every = [unit for ids in seen for unit in ids]
        assert len(set(every)) == len(every)


def test_labels_of_the_clinic_give_way_to_readers(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE, partly(TRUTH, range(0, 80, 2)))).study:
        unit = campaign.pool.units.names(campaign.pool.labelled())[0]
        left, right = RIGHT[unit]["left"], RIGHT[unit]["right"]
        file = tmp_path / "volunteered.csv"
        file.write_text(f"id,left,reader\n{unit},{1 - left},R1\n")
        campaign.tell(file, extra=True)
        assert campaign.pool.label(unit).tolist() == [1.0 - left, float(right)]


def test_images_that_await_an_answer_are_covered(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        campaign.tell(fill(worklist(campaign), RIGHT))
        campaign.ask(Wish(8, measure=2))
        pool = campaign.pool.awaiting(campaign.open_units())
        paid = set(campaign.pool.units.names(campaign.pool.labelled()))
        waiting = {u for u in campaign.open_units() if in_pool(campaign, {"id": u})}
        assert len(waiting) == 6
        assert set(pool.units.names(pool.covered())) == paid | waiting
        assert pool.covered().tolist() == sorted(pool.covered().tolist())
