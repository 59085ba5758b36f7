"""A study with people: every step is one event, may be repeated or killed, and honours the rules of measuring."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from clinic import LABELS, clinic, fill, first, partly, patients, truth_of

from medal.consensus import Consensus
from medal.errors import BudgetError, StudyError, StudyLocked
from medal.exchange.asking import Wish
from medal.human import HumanCampaign

SOURCE, TRUTH = patients(80)
RIGHT = truth_of(SOURCE, TRUTH)


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))


def worklist(campaign: HumanCampaign, wish: Wish | None = None) -> Path:
    name = campaign.ask(wish or Wish(8))
    return campaign.write_list(name).files[0]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as handle:
        return list(csv.DictReader(handle))


def kinds(campaign: HumanCampaign) -> list[str]:
    return [e.kind for e in campaign.study.ledger.events()]


def asked(campaign: HumanCampaign) -> list[dict[str, Any]]:
    return [e.content for e in campaign.study.ledger.events("asked")]


def begun(folder: Path, **settings: Any) -> HumanCampaign:
    """A study with one list answered by R1."""
    campaign = clinic(folder, SOURCE, **settings)
    campaign.tell(fill(worklist(campaign), RIGHT))
    return campaign


def test_the_first_list_measures_and_begins(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        path = worklist(campaign, Wish(12))
        assert [(q["purpose"], q["strategy"], len(q["ids"])) for q in asked(campaign)] == [
            ("validation", "random", 6),
            ("start", "cold start", 6),
        ]
        parts = {row["id"]: row["split"] for row in campaign.study.read_units()}
        for question, part in zip(asked(campaign), ("validation", "pool"), strict=True):
            assert {parts[i] for i in question["ids"]} == {part}
        assert [row["id"] for row in read(path)] != sorted(row["id"] for row in read(path))
        assert not any(name.startswith("predicted") for name in read(path)[0]), "there is no model yet"


def test_the_arm_is_one_simple_random_sample_and_stops_when_complete(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE, arm=5)).study:
        for _ in range(4):
            campaign.tell(fill(worklist(campaign, Wish(4)), RIGHT))
            campaign.learn()
        arm = [q["ids"] for q in asked(campaign) if q["purpose"] == "validation"]
        assert [len(ids) for ids in arm] == [2, 1, 1, 1], "half of the first list, a quarter of the others"
        assert len({i for ids in arm for i in ids}) == 5
        assert "validation" not in [q["purpose"] for q in asked(campaign)[-1:]]
        name = campaign.ask(Wish(4))
        assert all(q["purpose"] == "query" for q in campaign.asked_events(name))


def test_every_arm_is_as_likely(tmp_path: Path) -> None:
    """Over many studies each image of the part is drawn about as often: within four standard deviations."""
    source = first(SOURCE, 40)
    campaign = clinic(tmp_path / "s", source, arm=4)
    drawn = torch.zeros(len(source.ids))
    from medal.exchange.asking import compose

    with campaign.study:
        part = campaign.pool.split.positions("validation")
        for k in range(300):
            (portion,) = compose(campaign, Wish(4, measure=4), f"list {k}")
            drawn[campaign.pool.units.positions(portion.query.ids)] += 1
    share = 4 / len(part)
    assert drawn.sum() == 1200
    assert ((drawn[part] - 300 * share).abs() < 4 * (300 * share * (1 - share)) ** 0.5).all()


def test_images_of_an_exam_are_asked_together_and_the_number_is_kept(tmp_path: Path) -> None:
    with (campaign := begun(tmp_path / "s")).study:
        campaign.learn()
        for count in (1, 6, 7):
            path = worklist(campaign, Wish(count, measure=0))
            rows = read(path)
            assert len(rows) == count
            exams = [row["exam"] for row in rows]
            assert exams == sorted(exams, key=exams.index), "images of an exam stand together"
            whole = [e for e in set(exams) if exams.count(e) == 2]
            assert len(whole) == count // 2
            followers = [row for row in rows if row["reason"].startswith("same exam as no. ")]
            for row in followers:
                leader = rows[int(row["reason"].rpartition(" ")[2]) - 1]
                assert leader["exam"] == row["exam"]
                assert leader["reason"].startswith("unsure about")
            campaign.tell(fill(path, RIGHT))


def test_an_open_question_is_not_asked_again(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        ids = [row["id"] for _ in range(6) for row in read(worklist(campaign, Wish(10)))]
        assert len(set(ids)) == len(ids) == 60
        assert list(campaign.open_lists().values()) == [10] * 6
        rest = read(worklist(campaign, Wish(100)))
        assert len(rest) == len(campaign.pool.split.positions("pool")) - (60 - 8)
        with pytest.raises(BudgetError, match="nothing is left to ask"):
            campaign.ask(Wish(5))
        assert campaign.pool.round == 0


def test_telling_twice_changes_nothing(tmp_path: Path) -> None:
    campaign = begun(tmp_path / "s")
    path = tmp_path / "s" / "worklists" / "ask_001" / "worklist.csv"
    with campaign.study:
        head = campaign.study.ledger.head()
        again = campaign.tell(path)
        assert (again.taken, again.unchanged, again.refused) == (0, 8, [])
        assert campaign.study.ledger.head() == head
    # nor does a copy of it with another name, another order and another separator
    rows = read(path)
    with (tmp_path / "copy.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(reversed(rows))
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        assert campaign.tell(tmp_path / "copy.csv").unchanged == 8
        assert campaign.study.ledger.head() == head


def test_corrections_and_second_opinions_are_both_kept(tmp_path: Path) -> None:
    def flip(row: dict[str, str], number: int) -> None:
        if number == 7:
            row["left"] = str(1 - int(row["left"]))

    with (campaign := begun(tmp_path / "s")).study:
        path = tmp_path / "s" / "worklists" / "ask_001" / "worklist.csv"
        unit = read(path)[7]["id"]
        right, wrong = float(RIGHT[unit]["left"]), 1.0 - RIGHT[unit]["left"]
        second = campaign.tell(fill(path, RIGHT, "R2", flip, tmp_path / "second.csv"))
        assert second.counts["second opinion"] == 8
        assert [(a.annotator, a.values[0].item()) for a in campaign.pool.opinions(unit)] == [
            ("R1", right),
            ("R2", wrong),
        ]
        assert torch.isnan(campaign.pool.label(unit)[0]), "a tie of two readers trains nothing"
        corrected = campaign.tell(fill(path, RIGHT, "R1", flip, tmp_path / "corrected.csv"))
        assert (corrected.counts["corrected"], corrected.unchanged) == (1, 7)
        assert [a.values[0].item() for a in campaign.pool.opinions(unit)] == [right, wrong, wrong]
        assert campaign.pool.label(unit)[0] == wrong
        # the older file does not bring the older answer back
        assert campaign.tell(path).taken == 0
        assert campaign.pool.label(unit)[0] == wrong


def test_cannot_label_takes_an_image_out_and_a_label_brings_it_back(tmp_path: Path) -> None:
    def give_up(row: dict[str, str], number: int) -> None:
        if number in (0, 7):
            row.update(dict.fromkeys(LABELS, ""), cannot_label=("quality", "patient Zyxwold moved")[number == 7])

    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        path = worklist(campaign)
        gone = [read(path)[n]["id"] for n in (0, 7)]
        intake = campaign.tell(fill(path, RIGHT, change=give_up))
        assert intake.counts == {**dict.fromkeys(intake.counts, 0), "answered": 6, "cannot label": 2}
        assert campaign.open_lists() == {}
        reasons = {i: e.content["reason"] for e in campaign.study.ledger.events("retired") for i in e.content["ids"]}
        assert reasons == {gone[0]: "quality", gone[1]: "other"}, "free text may name somebody"
        assert set(gone) == set(campaign.pool.retired)
        other = tmp_path / "other.csv"
        other.write_text(f"id,left\n{gone[1]},1\n")
        assert "R1 stated that it cannot be labelled" in campaign.tell(other, "R2").refused[0][2]
        assert campaign.tell(other, "R1").taken == 1
        assert set(campaign.pool.retired) == {gone[0]}
        assert campaign.pool.label(gone[1])[0] == 1
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        assert set(campaign.pool.retired) == {gone[0]}, "the journal says the same"
    assert b"Zyxwold" not in (tmp_path / "s" / "ledger.db").read_bytes()
    assert any("Zyxwold" in f.read_text() for f in (tmp_path / "private").rglob("*comments.csv"))


def test_imported_labels_train_and_never_measure(tmp_path: Path) -> None:
    known = partly(TRUTH, range(0, 80, 2))
    with (campaign := clinic(tmp_path / "s", SOURCE, known)).study:
        (event,) = campaign.study.ledger.events("answered")
        assert (event.content["purpose"], event.content["annotator"]) == ("imported", "clinic")
        parts = {row["id"]: row["split"] for row in campaign.study.read_units()}
        assert {parts[i] for i in event.content["ids"]} == {"pool"}
        assert len(campaign.pool.table("validation")) == 0
        assert campaign.learn(), "labels of the clinic are enough to begin with"
        assert not {i for q in asked(campaign) for i in q["ids"]} & set(event.content["ids"])
        path = worklist(campaign)
        assert read(path)[0]["reason"] == "at random, for measuring"
        campaign.tell(fill(path, RIGHT))
        assert len(campaign.pool.table("validation")) == 2
    with (campaign := clinic(tmp_path / "s", SOURCE, known)).study:
        assert sum(e.content["purpose"] == "imported" for e in campaign.study.ledger.events("answered")) == 1


def test_predictions_lead_nobody_where_it_counts(tmp_path: Path) -> None:
    with (campaign := begun(tmp_path / "s")).study:
        campaign.learn()
        for row in read(worklist(campaign)):
            measures = row["reason"] == "at random, for measuring"
            assert (row["predicted left"] == "") == measures
            assert measures or 0 <= float(row["predicted left"]) <= 1


def test_a_filled_list_is_never_written_over(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        path = worklist(campaign)
        fill(path, RIGHT)
        before = path.read_bytes()
        path.with_suffix(".html").unlink()
        listing = campaign.write_list("ask_001")
        assert path.read_bytes() == before
        assert all(file.exists() for file in listing.files)
        path.unlink()
        assert [i.id for i in campaign.write_list("ask_001").worklist.items] == [row["id"] for row in read(path)]


def test_relabelling_asks_where_readers_differ_and_then_where_the_model_doubts(tmp_path: Path) -> None:
    def err(row: dict[str, str], number: int) -> None:
        if number in (7, 8, 9):
            row["right"] = str(1 - int(row["right"]))

    def err_later(row: dict[str, str], number: int) -> None:
        err(row, number)
        row["seconds"] = "31"

    def err_and_differ(row: dict[str, str], number: int) -> None:
        err(row, number)
        if number in (0, 12):
            row["left"] = str(1 - int(row["left"]))

    with (campaign := clinic(tmp_path / "s", SOURCE, steps=40)).study:
        path = worklist(campaign, Wish(30, measure=0))
        doubtful = [read(path)[n]["id"] for n in (0, 12)]
        wrong = {read(path)[n]["id"] for n in (7, 8, 9)}
        campaign.tell(fill(path, RIGHT, change=err))
        campaign.tell(fill(path, RIGHT, "R2", err_and_differ, tmp_path / "second.csv"))
        campaign.learn()
        name = campaign.ask(Wish(5, relabel=3, measure=0))
        rows = read(campaign.write_list(name).files[0])
        again = [row for row in rows if row["reason"] == "readers disagree about left"]
        assert {row["id"] for row in again} == set(doubtful)
        questions = {q["purpose"]: list(q["ids"]) for q in asked(campaign)[-2:]}
        assert set(questions["relabel"][:2]) == set(doubtful)
        assert questions["relabel"][2] in wrong
        assert len(questions["relabel"]) + len(questions["query"]) == 5
        # the same answer by the same reader is an answer when it comes on this list, and no news on the old one
        old = campaign.tell(fill(path, RIGHT, "R1", err_later, tmp_path / "old.csv"))
        assert (old.taken, len(campaign.open_units())) == (0, 5)
        new = campaign.tell(fill(campaign.write_list(name).files[0], RIGHT))
        assert new.taken == 5
        assert campaign.open_units() == ()


def test_findings_one_by_one(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE, kind="finding")).study:
        campaign.tell(fill(worklist(campaign, Wish(12)), RIGHT))
        campaign.learn()
        path = worklist(campaign, Wish(9, measure=0))
        rows = read(path)
        named = [tuple(row["asked"].split(", ")) if row["asked"] else LABELS for row in rows]
        assert sum(map(len, named)) == 9
        (lonely, *_) = [n for n, names in enumerate(named) if len(names) == 1]
        everything = campaign.tell(fill(path, RIGHT, to=tmp_path / "all.csv"))
        assert {line for line, _, _ in everything.refused} == {
            n + 2 for n, names in enumerate(named) if len(names) == 1
        }
        assert "nobody asked about" in everything.refused[0][2]

        def only(row: dict[str, str], number: int) -> None:
            row.update({name: "" for name in LABELS if name not in named[number]})

        campaign.tell(fill(path, RIGHT, change=only))
        assert campaign.open_units() == ()
        table = campaign.pool.table()
        row = SOURCE.ids.index(rows[lonely]["id"])
        assert torch.isnan(table.target[table.rows.tolist().index(row)]).sum() == 1


def test_training_needs_a_label_and_is_done_once(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        with pytest.raises(StudyError, match="no image to train with is labelled yet; label a work list"):
            campaign.learn()
        path = worklist(campaign, Wish(4, measure=4))
        campaign.tell(fill(path, RIGHT))
        with pytest.raises(StudyError, match="the 4 that measure do not train"):
            campaign.learn()
        campaign.tell(fill(worklist(campaign, Wish(6)), RIGHT))
        assert campaign.learn()
        head = campaign.study.ledger.head()
        assert not campaign.learn()
        assert campaign.study.ledger.head() == head
        campaign.tell(fill(worklist(campaign, Wish(4)), RIGHT))
        assert campaign.learn()
        rounds = [e.content["round"] for e in campaign.study.ledger.events("trained")]
        assert rounds == [0, 1]


def test_labels_after_a_training_belong_to_the_next_round(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        path = worklist(campaign, Wish(12))
        campaign.tell(fill(path, RIGHT, change=lambda row, n: row.update(left="", right="") if n > 8 else None))
        campaign.learn()
        assert campaign.tell(fill(path, RIGHT)).taken == 3
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        assert campaign.learn(), "trained again although nothing was asked in between"
        assert [e.content["round"] for e in campaign.study.ledger.events("trained")] == [0, 1]
        assert [e.content["round"] for e in campaign.study.ledger.events("answered")] == [0, 0, 1]
        assert campaign.study.load_weights(0).keys() == campaign.study.load_weights(1).keys()
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        campaign.ask(Wish(4))
        assert [e.content["round"] for e in campaign.study.ledger.events("asked")][-1] == 2


def test_lost_weights_are_trained_again(tmp_path: Path) -> None:
    with (campaign := begun(tmp_path / "s")).study:
        campaign.learn()
        campaign.tell(fill(worklist(campaign), RIGHT))
        campaign.study.weights_path(0).unlink()
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        with pytest.raises(StudyError, match="run `medal train`"):
            campaign.ask(Wish(4))
        assert campaign.learn()
        campaign.ask(Wish(4))


def test_new_images_are_added_and_known_ones_stay_where_they_are(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", first(SOURCE, 60))).study:
        campaign.tell(fill(worklist(campaign), RIGHT))
        campaign.learn()
        before = {row["id"]: row["split"] for row in campaign.study.read_units()}
        weights = campaign.study.ledger.last("trained")
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        assert campaign.added == 20
        (event,) = campaign.study.ledger.events("added")
        assert event.content["ids"] == list(SOURCE.ids[60:])
        after = {row["id"]: row["split"] for row in campaign.study.read_units()}
        assert {i: after[i] for i in before} == before
        assert campaign.study.ledger.last("trained") == weights
        rows = read(worklist(campaign, Wish(60)))
        assert {row["id"] for row in rows} & set(SOURCE.ids[60:])
        # as if the command had been killed between the event and the table
        campaign.study.write_units([row for row in campaign.study.read_units() if row["id"] in before])
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        assert campaign.added == 0
        assert kinds(campaign).count("added") == 1
        assert [row["id"] for row in campaign.study.read_units()] == list(SOURCE.ids)
    with pytest.raises(
        StudyError, match=r"20 of 80 images of the study are not in the folder any more \(first: u00060"
    ):
        clinic(tmp_path / "s", first(SOURCE, 60))


def test_two_people_at_once(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        with pytest.raises(StudyLocked, match="in use by this very process"):
            clinic(tmp_path / "s", SOURCE)
        worklist(campaign)


@pytest.mark.parametrize("rule", ["majority", "first", "soft"])
def test_readers_who_differ_about_the_arm(tmp_path: Path, rule: Any) -> None:
    """Whatever the rule, what readers dispute can be trained with or is left out, and the measuring goes on."""

    def flip(row: dict[str, str], number: int) -> None:
        row["left"] = str(1 - int(row["left"]))

    with (campaign := clinic(tmp_path / "s", SOURCE, arm=30, readers=Consensus(rule))).study:
        path = worklist(campaign, Wish(36))
        campaign.tell(fill(path, RIGHT))
        campaign.tell(fill(path, RIGHT, "R2", flip, tmp_path / "second.csv"))
        assert campaign.learn()
        last = campaign.study.ledger.last("evaluated")
        assert last is not None
        measured = last.content["validation"]["labels"]
        assert measured["right"]["auroc"] is not None
        assert (measured["left"]["auroc"] is not None) == (rule == "first")
