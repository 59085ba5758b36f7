from __future__ import annotations

import base64
import io

from PIL import Image

from medal.report.gallery import EDGE, galleries, last_batch, thumbnail
from medal.report.history import Answer, Batch, Pick, RunHistory, StudyHistory

OPENED = {"data": {"labels": ["Effusion", "Mass"]}}


def batch(n: int, purpose: str, strategy: str, *units: str) -> Batch:
    return Batch(n, purpose, strategy, tuple(Pick(u, 0.5, {"score": 0.5}) for u in units), len(units), 1.0)


def png(folder, name, mode="L", size=(640, 320)):
    Image.new(mode, size, 90 if mode in ("L", "I;16") else (90, 20, 20)).save(folder / f"{name}.png")


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))


def test_thumbnails_are_small_and_keep_their_shape(tmp_path):
    png(tmp_path, "I1")
    png(tmp_path, "I2", "RGB", (100, 50))
    assert opened(thumbnail(tmp_path, "I1")).size == (EDGE, EDGE // 2)
    assert opened(thumbnail(tmp_path, "I2")).mode == "RGB"


def test_a_finding_is_shown_by_the_preview_of_its_image(tmp_path):
    png(tmp_path, "I1")
    assert thumbnail(tmp_path, "I1#Mass") == thumbnail(tmp_path, "I1") != ""


def test_missing_broken_and_foreign_previews_are_no_pictures(tmp_path):
    inside = tmp_path / "previews"
    inside.mkdir()
    png(tmp_path, "secret")
    (inside / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    (inside / "text.png").write_text("<svg onload=alert(1)>")
    for unit in ("absent", "torn", "text", "../secret", str(tmp_path / "secret"), ""):
        assert thumbnail(inside, unit) == ""
    assert thumbnail(None, "I1") == ""


def test_the_last_query_is_shown_with_reason_answer_and_facts(tmp_path):
    study = StudyHistory(
        "epistemic",
        3,
        OPENED,
        batches=(
            batch(0, "start", "random", "z"),
            batch(1, "query", "epistemic", "x"),
            batch(2, "query", "epistemic", "a", "b", "c"),
        ),
        answers=(
            Answer("x", 1, "query", (1.0, 1.0), 1.0, "A"),
            Answer("a", 2, "query", (1.0, 0.0), 1.0, "A"),
            Answer("b", 2, "query", (0.0, 0.0), 1.0, "A"),
            Answer("b", 2, "query", (0.0, 1.0), 1.0, "B"),
        ),
        units={"a": {"id": "a", "group": "P1", "split": "pool", "sex": "F", "body_part": ""}},
        previews=tmp_path,
    )
    (gallery,) = galleries(RunHistory("r", (StudyHistory("random", 0), study)))
    assert gallery.title == "epistemic, seed 3, round 2"
    assert [card.unit for card in gallery.cards] == ["a", "b", "c"]
    assert gallery.cards[0].facts == "sex F"
    assert gallery.cards[0].reason == "epistemic 0.500"
    assert [card.answer for card in gallery.cards] == [
        "present: Effusion; absent: 1 other",
        "A: none of the 2 findings. B: present: Mass; absent: 1 other",
        "not answered yet",
    ]


def test_random_is_shown_only_when_no_other_arm_has_picks():
    random = StudyHistory("random", 0, OPENED, batches=(batch(1, "query", "random", "a"),))
    active = StudyHistory("a", 0, OPENED, batches=(batch(1, "query", "a", "a"),))
    assert [g.title for g in galleries(RunHistory("r", (random, active)))] == ["a, seed 0, round 1"]
    assert [g.title for g in galleries(RunHistory("r", (random, StudyHistory("a", 0))))] == ["random, seed 0, round 1"]
    assert galleries(RunHistory("r", (StudyHistory("a", 0),))) == ()


def test_batches_without_picks_do_not_count():
    study = StudyHistory("a", 0, OPENED, batches=(batch(0, "start", "random", "s"), batch(1, "query", "a")))
    assert last_batch(study) == study.batches[0]
    assert galleries(RunHistory("r", (StudyHistory("a", 0, OPENED, batches=(batch(1, "query", "a"),)),))) == ()
