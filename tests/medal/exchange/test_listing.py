"""One number an image: on the list, on the contact sheet and in the private key, however much of it is answered."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from clinic import clinic, fill, patients, truth_of

from medal.exchange import listing
from medal.exchange.asking import Wish
from medal.identity import write_private

SOURCE, TRUTH = patients(80)
RIGHT = truth_of(SOURCE, TRUTH)


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))
    lines = [[name, "", f"/archive/{name}.dcm"] for name in SOURCE.ids]
    write_private("toy", ["pseudonym", "identity", "note"], lines)


def numbers(path: Path | None) -> dict[str, str]:
    assert path is not None
    with path.open(newline="", encoding="utf-8-sig") as handle:
        return {row["id"]: row["no"] for row in csv.DictReader(handle)}


@pytest.mark.parametrize("kind", ["image", "finding"])
def test_numbers_stay_when_a_part_is_answered(tmp_path: Path, kind: str) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE, kind=kind)).study:
        written = campaign.write_list(campaign.ask(Wish(8)))
        path, key = written.files[0], written.key
        before = numbers(path)
        assert list(before.values()) == [str(n) for n in range(1, len(before) + 1)]
        assert numbers(key) == before

        def skip(row: dict[str, str], number: int) -> None:
            if number >= 3:
                row.update(left="", right="")

        campaign.tell(fill(path, RIGHT, change=skip, to=tmp_path / "part.csv"))
        again = campaign.write_list("ask_001")
        assert {item.id: str(item.number) for item in again.worklist.items} == dict(list(before.items())[3:])
        assert numbers(again.key) == before, "the key of the whole list stays"
        path.unlink()
        assert numbers(campaign.write_list("ask_001").files[0]) == dict(list(before.items())[3:])


def test_a_key_keeps_files_that_no_table_knows_any_more(tmp_path: Path) -> None:
    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        key = campaign.write_list(campaign.ask(Wish(8))).key
        assert key is not None
        before = key.read_bytes()
        write_private("toy", ["pseudonym", "identity", "note"], [[SOURCE.ids[0], "", "/archive/0.dcm"]])
        campaign.write_list("ask_001")
        assert key.read_bytes().count(b"/archive/") == before.count(b"/archive/")


def test_a_list_holds_its_own_questions_alone(tmp_path: Path) -> None:
    """What is asked again stands on the list that asks again, and no more on the first."""

    def flip(row: dict[str, str], number: int) -> None:
        row["left"] = str(1 - int(row["left"]))

    with (campaign := clinic(tmp_path / "s", SOURCE)).study:
        path = campaign.write_list(campaign.ask(Wish(8, measure=0))).files[0]
        campaign.tell(fill(path, RIGHT))
        campaign.tell(fill(path, RIGHT, "R2", flip, tmp_path / "second.csv"))
        campaign.learn()
        campaign.ask(Wish(4, relabel=4))
        assert listing.worklist_of(campaign, "ask_001").items == ()
        assert len(listing.worklist_of(campaign, "ask_002").items) == 4
