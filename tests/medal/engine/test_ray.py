"""Ray: the contract of every engine, pool scoring and killed workers, on a cluster of two workers on this machine.

What kills workers comes last: each worker that has to be started anew takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import engines
import pytest
import torch

from medal.engine import Engine, Job, Local, engine_of
from medal.errors import StudyError
from medal.outputs import OutputCache, Outputs
from medal.recipe import load
from medal.schema import Resources
from medal.seeding import Seed
from medal.study import Study

pytest.importorskip("ray", reason="the extra ray is not installed")

from medal.engine.cluster import connected
from medal.engine.ray import Ray
from medal.engine.scoring import Workers, spreading

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with connected(2):
        yield


@pytest.fixture
def engine(cluster: None) -> Engine:
    return engine_of(Resources(engine="ray", processes=2))


def test_results(engine: Engine) -> None:
    assert isinstance(engine, Ray)
    engines.check_results(engine)


def test_errors(engine: Engine, tmp_path: Path) -> None:
    engines.check_errors(engine, tmp_path)
    engines.check_defects(engine)


def test_what_workers_cannot_compute_is_computed_here(
    cluster: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = load("chest_xray", ["resources.engine=ray"], smoke=True).model_dump(mode="json")
    rows = torch.arange(6)
    outputs = Outputs({"features"}, lambda r, _: {"features": r[:, None].float()}, OutputCache(tmp_path / "o", 6), 2)
    outputs.elsewhere = Workers(recipe, tmp_path / "cache", "other images", Seed(0), {"w": torch.ones(1)})
    assert outputs.get("features", rows).flatten().tolist() == rows.tolist()
    assert "found other images here" in caplog.text


def test_a_campaign_is_scored_where_its_recipe_says(cluster: None, tmp_path: Path) -> None:
    source = SimpleNamespace(digest="images", ids=("a", "b"))
    learner = SimpleNamespace(
        warm=False,
        offers="everything",
        load_state_dict=lambda state, seed: None,
        state_dict=lambda: {"w": torch.ones(1)},
        predict=lambda cache, progress: Outputs({"features"}, lambda *_: {}),
    )
    campaign: Any = SimpleNamespace(learner=learner, source=source)
    with spreading(campaign, load("chest_xray", smoke=True), tmp_path):
        assert campaign.learner is learner
    with spreading(campaign, load("chest_xray", ["engine=ray"], smoke=True), tmp_path):
        assert campaign.learner.learner is learner
        assert campaign.learner.offers == "everything"
        assert campaign.learner.predict().elsewhere is None  # trained before: nobody could repeat its draws
        campaign.learner.load_state_dict({}, Seed(3))
        assert campaign.learner.predict().elsewhere.seed == Seed(3)


def test_a_pool_is_scored_by_workers_to_the_same_bits(engine: Engine, tmp_path: Path) -> None:
    job = Job("scored", engines.scored, {"folder": tmp_path})
    (here, elsewhere, blocks) = engine.run([job])[0]  # from within a worker, whose neighbour is free
    assert here == elsewhere
    assert {line.split()[0] for line in here} >= {"draws", "features", "marginals"}
    assert blocks > 2


def test_studies_with_a_killed_worker_have_the_hashes_of_the_local_engine(engine: Engine, tmp_path: Path) -> None:
    def jobs(where: str, kill: int | None) -> list[Job]:
        folders = [tmp_path / where / f"study{seed}" for seed in range(2)]
        (tmp_path / where).mkdir()
        kills = (kill, None)
        return [
            Job(f.name, engines.study, {"folder": f, "seed": n, "kill_in_round": k})
            for n, (f, k) in enumerate(zip(folders, kills, strict=True))
        ]

    heads = engine.run(jobs("ray", 1))
    assert [(tmp_path / "ray" / f"study{n}.begun").stat().st_size for n in range(2)] == [2, 1]
    assert heads == Local().run(jobs("local", None))
    with Study.open(tmp_path / "ray" / "study0", write=False) as a:
        a.ledger.verify()
        with Study.open(tmp_path / "local" / "study0", write=False) as b:
            assert [(e.kind, e.content) for e in a.ledger.events()] == [(e.kind, e.content) for e in b.ledger.events()]


def test_a_worker_that_is_killed_too_often_is_one_line(engine: Engine, tmp_path: Path) -> None:
    dying = Job("dies", engines.die, {"file": tmp_path / "begun", "times": 9})
    with pytest.raises(StudyError, match=r"^dies: its worker was lost .*`medal resume` goes on$"):
        Ray(retries=1).run([dying, Job("lives", engines.mark, {"file": tmp_path / "lives"})])
    assert (tmp_path / "begun").stat().st_size == 2
    assert (tmp_path / "lives").exists()


def test_an_interrupt_kills_the_workers(engine: Engine, tmp_path: Path) -> None:
    slow = [Job(f"s{n}", engines.mark_slowly, {"file": tmp_path / f"{n}.txt", "seconds": 60}) for n in range(2)]

    def interrupt(name: str, what: str, done: int, total: int) -> None:
        if len(list(tmp_path.glob("*.pid"))) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(slow, interrupt)
    assert all(engines.gone(int(file.read_text())) for file in tmp_path.glob("*.pid"))
    assert list(tmp_path.glob("*.txt")) == []
