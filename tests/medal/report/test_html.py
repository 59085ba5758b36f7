from __future__ import annotations

import html.parser
import math
import re
from dataclasses import replace

import pytest
from people_study import PeopleStudy

from medal.errors import ConfigError
from medal.report import write_report
from medal.report.history import (
    Answer,
    Batch,
    LabelMeasures,
    Measures,
    Pick,
    Retired,
    Round,
    RunHistory,
    StudyHistory,
    Subgroup,
)
from medal.report.html import page, write

HOSTILE = "<script>alert(1)</script>"


class Reader(html.parser.HTMLParser):
    """Collects tags, and every tag that was opened and not closed in its place."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.torn: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.torn.append(tag)

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]


def check(text: str) -> Reader:
    """What every report must keep: whole HTML, nothing from outside, headings, captions and alternative texts."""
    reader = Reader(text)
    assert reader.torn == []
    assert reader.open == []
    assert reader.of("script") == []
    assert not any(name.startswith("on") for _, attrs in reader.tags for name in attrs)
    assert all((img["src"] or "").startswith("data:image/") and img["alt"] for img in reader.of("img"))
    assert all((link["href"] or "").startswith("#") for link in reader.of("a"))
    assert not re.search(r"url\(|@import|<link|<iframe", text)
    assert len(reader.of("h1")) == 1
    assert len(re.findall("<caption>", text)) == len(reader.of("table"))
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {(link["href"] or "")[1:] for link in reader.of("a")} <= set(ids)
    assert text.count("Research use only, not for diagnosis") == 2
    return reader


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_a_whole_run_is_reported_with_its_figures_beside_it(tmp_path, make_run):
    run = make_run(tmp_path / "run", quarantined={"Ibroken": "the file ends early"})
    path = write_report(run)
    assert path == run / "report" / "report.html"
    names = {"curve_auroc", "curve_auprc", "selection_labels", "selection_columns"}
    assert {p.name for p in path.parent.iterdir()} == {"report.html"} | {
        f"{n}.{e}" for n in names for e in ("svg", "png")
    }
    text = path.read_text(encoding="utf-8")
    reader = check(text)
    assert len(reader.of("figure")) == 4
    assert sum((img["src"] or "").startswith("data:image/jpeg") for img in reader.of("img")) == 20
    words = plain(text)
    for expected in (
        "underpowered: n = 3 &lt; 10 paired seeds",
        "At 220 items, macro AUROC is",
        "Bands: minimum to maximum.",
        "not estimable",
        "highest of 462 candidates",
        "Ibroken the file ends early 6 studies",
        "all 6 studies finished",
        "1b" * 32,
    ):
        assert expected in words, expected


def test_a_hospital_study_is_reported_on_its_validation_arm(tmp_path):
    PeopleStudy(tmp_path / "study", rounds=4, target=0.9)
    path = write_report(tmp_path / "study")
    names = {"outlook", "subgroups", "selection_labels", "selection_columns", "agreement"}
    assert {p.stem for p in path.parent.iterdir()} == names | {"report"}
    text = path.read_text(encoding="utf-8")
    check(text)
    words = plain(text)
    for expected in (
        "measured on random images of this study, not on a separate test set",
        "Trained on 122 labels, macro AUROC on the paid random validation arm is",
        "80 images of 40 patients; mean over Edema, Effusion, Pneumonia",
        "All measures are taken on the paid random validation arm",
        "going on, evaluated up to round 3",
        "Stop or go on",
        "Agreement of readers",
        "I0033 lateral view &lt;b&gt; Dr A",
        "3 units came with labels that the clinic already had",
        "2 images came in later",
        "Labels with fewer than 5 positives",
    ):
        assert expected in words, expected
    for absent in ("random arm, the baseline", "no random arm", "unfinished", "underpowered", "test measures"):
        assert absent not in words, absent
    numbers = [int(n) for n in re.findall(r"Figure (\d+)\.", words)]
    assert numbers == list(range(1, 6))


def test_another_target_may_be_asked_about(tmp_path):
    PeopleStudy(tmp_path / "study", rounds=4)
    assert "no target stated" in plain(write_report(tmp_path / "study").read_text())
    assert "the target of 0.850" in plain(write_report(tmp_path / "study", target=0.85).read_text())
    with pytest.raises(ConfigError, match=r"target: found 85, expected a macro AUROC in \(0, 1\]"):
        write_report(tmp_path / "study", target=85)


def test_a_run_without_arm_or_second_opinions_has_none_of_their_sections(pair):
    words = plain(page(pair))
    for absent in ("Stop or go on", "Agreement of readers", "Subgroups of patients", "What came, changed and went"):
        assert absent not in words, absent


def test_sections_of_a_run_with_a_test_set(tmp_path, pair):
    groups = {"sex": {"F": Subgroup(40, 0.8, 0.7, 0.9, ("Mass",), 1), "M": Subgroup(40, 0.7, 0.6, 0.8, ("Mass",), 1)}}
    batch = Batch(0, "start", "random", (), 100, 150)
    studies = tuple(
        replace(
            s,
            batches=(batch, *(Batch(n, "query", s.arm, (), 20, 30) for n in (1, 2, 3))),
            rounds=tuple(
                replace(r, subgroups=groups, validation=Measures({"auroc": 0.6 + 0.02 * r.number}), trained_on=r.items)
                for r in s.rounds
            ),
        )
        for s in pair.studies
    )
    path = write(RunHistory("chest_xray", studies), tmp_path)
    assert {p.stem for p in tmp_path.iterdir()} == {"report", "curve_auroc", "curve_auprc", "subgroups", "outlook"}
    text = path.read_text()
    check(text)
    words = plain(text)
    assert "The widest of 2 gaps is in Sex" in words
    assert "epistemic: the validation arm" in words
    assert "Halving and doubling the minutes for one image leaves the order" in words
    assert [int(n) for n in re.findall(r"Figure (\d+)\.", words)] == [1, 2, 3, 4]


def test_labels_without_enough_positives_are_explained(tmp_path):
    few = {"Hernia": LabelMeasures(0.9, 0.9, 0.1, 0.1, 14, 100, False)}
    run = RunHistory("r", (StudyHistory("random", 0, rounds=(Round(0, 10, 10, {"auroc": math.nan}, few),)),))
    words = plain(write(run, tmp_path).read_text())
    expected = (
        "no label has the 20 positives and 20 negatives in the test set that make it estimable. Hernia comes closest"
    )
    assert words.count(f"{expected} with 14.") == 3  # at the head, by the curves, and above the table of labels


def test_the_same_run_gives_the_same_bytes(tmp_path, make_run):
    run = make_run(tmp_path / "run", seeds=(0,), rounds=1, images=300, batch=4)
    first, second = write_report(run, tmp_path / "a"), write_report(run, tmp_path / "b")
    for path in first.parent.iterdir():
        assert path.read_bytes() == (second.parent / path.name).read_bytes(), path.name


def test_an_unfinished_run_is_marked(tmp_path, make_run):
    stop = {("random", 0): 1, ("beta_epistemic", 1): -1, ("random", 1): -2}
    text = write_report(make_run(tmp_path / "run", seeds=(0, 1), rounds=2, images=300, batch=4, stop=stop)).read_text()
    check(text)
    words = plain(text)
    assert "3 of 4 studies unfinished" in words
    assert "random, seed 0: evaluated up to round 1" in words
    assert "beta_epistemic, seed 1: not begun" in words
    assert "random, seed 1: nothing evaluated yet" in words


def test_one_study_folder_without_random_is_reported(tmp_path, make_run):
    run = make_run(tmp_path / "run", arms=("beta_epistemic",), seeds=(0,), rounds=1, images=300, batch=4)
    path = write_report(run / "studies" / "0")
    assert path.parent == run / "studies" / "0" / "report"
    words = plain(path.read_text())
    assert "This run has no random arm" in words
    assert "With one seed there is no band." in words


@pytest.mark.parametrize(
    "run",
    [
        RunHistory("r", ()),
        RunHistory("r", (StudyHistory("random", 0),)),
        RunHistory("r", (StudyHistory("a", 0, {"data": {"labels": ["Mass"]}}, rounds=(Round(0, 10, 10, {}, {}),)),)),
        RunHistory("r", (StudyHistory("a", 0, batches=(Batch(1, "query", "a", (), 0, 0),)),)),
        RunHistory("r", (StudyHistory("random", 0, batches=(Batch(1, "query", "random", (Pick("u", 0.1),), 1, 1),)),)),
    ],
    ids=["no study", "not begun", "no test labels", "no picks", "not answered"],
)
def test_reports_of_little_say_so_and_do_not_fail(tmp_path, run):
    text = write(run, tmp_path).read_text()
    check(text)
    assert "Nothing" in plain(text)


def test_every_name_from_users_is_escaped(tmp_path):
    labels = {HOSTILE: LabelMeasures(0.7, 0.3, 0.1, 0.1, 30, 30, True)}
    opened = {
        "task": HOSTILE,
        "medal": HOSTILE,
        "data": {"name": HOSTILE, "digest": HOSTILE, "rows": 3, "labels": [HOSTILE, '"><img src=x onerror=alert(1)>']},
        "split": {"hash": HOSTILE, "counts": {HOSTILE: 3}},
        "versions": {HOSTILE: HOSTILE},
        "recipe": {"note": HOSTILE, "report": {"title": HOSTILE}},
    }
    groups = {HOSTILE: {HOSTILE: Subgroup(9, 0.7, 0.6, 0.8, (HOSTILE,), 1)}}
    pick = Pick('"><svg onload=alert(1)>', 0.5, {f"label:{HOSTILE}": 0.5, HOSTILE: 1.0})
    study = StudyHistory(
        HOSTILE,
        0,
        opened,
        rounds=(Round(0, 10, 10, {"auroc": 0.7}, labels), Round(1, 20, 20, {"auroc": 0.8}, labels, subgroups=groups)),
        batches=(Batch(1, "query", HOSTILE, (pick,), 1, 1.0),),
        answers=tuple(Answer(pick.unit, 1, "query", (1.0, -1.0), 3.0, who) for who in (HOSTILE, "B")),
        quarantined={HOSTILE: HOSTILE},
        retired=(Retired(HOSTILE, HOSTILE, HOSTILE),),
        closed=HOSTILE,
        head=HOSTILE,
        units={pick.unit: {"id": pick.unit, "group": HOSTILE, "split": "pool", HOSTILE: HOSTILE}},
    )
    text = write(RunHistory(HOSTILE, (study,)), tmp_path).read_text()
    reader = check(text)
    assert not {"svg", "object", "embed"} & {tag for tag, _ in reader.tags}
    assert text.count("&lt;script&gt;") > 15


def test_a_second_report_replaces_the_first_and_leaves_no_draft(tmp_path, pair):
    first = write(pair, tmp_path).read_text()
    again = write(RunHistory("other", pair.studies), tmp_path)
    assert again.read_text() != first
    assert [p.name for p in tmp_path.iterdir() if p.suffix not in (".svg", ".png")] == ["report.html"]


def test_a_page_without_figures_is_whole(pair):
    check(page(pair))
