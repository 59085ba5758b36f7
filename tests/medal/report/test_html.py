from __future__ import annotations

import html.parser
import re

import pytest

from medal.report import write_report
from medal.report.history import Answer, Batch, LabelMeasures, Pick, Round, RunHistory, StudyHistory
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
    pick = Pick('"><svg onload=alert(1)>', 0.5, {f"label:{HOSTILE}": 0.5, HOSTILE: 1.0})
    study = StudyHistory(
        HOSTILE,
        0,
        opened,
        rounds=(Round(0, 10, 10, {"auroc": 0.7}, labels), Round(1, 20, 20, {"auroc": 0.8}, labels)),
        batches=(Batch(1, "query", HOSTILE, (pick,), 1, 1.0),),
        answers=tuple(Answer(pick.unit, 1, "query", (1.0, -1.0), 3.0, who) for who in (HOSTILE, "B")),
        quarantined={HOSTILE: HOSTILE},
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
