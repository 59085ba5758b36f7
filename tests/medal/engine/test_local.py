"""The default engine keeps the contract, in this process and in several."""

from __future__ import annotations

import os
import time
from pathlib import Path

import engines
import pytest

from medal.engine import Engine, Job, Local, engine_of, settle_process
from medal.engine.choice import cores
from medal.engine.job import raise_first, spaced
from medal.errors import BadInput, StudyError
from medal.schema import Resources


@pytest.fixture(params=[1, 2])
def engine(request: pytest.FixtureRequest) -> Engine:
    return Local(request.param)


def test_results(engine: Engine) -> None:
    engines.check_results(engine)


def test_errors(engine: Engine, tmp_path: Path) -> None:
    engines.check_errors(engine, tmp_path)


def test_a_defect_is_logged_with_its_lines(caplog: pytest.LogCaptureFixture) -> None:
    engines.check_defects(Local())
    assert 'raise ZeroDivisionError("by nothing")' in caplog.text


def test_an_interrupt_stops_at_once(tmp_path: Path) -> None:
    def interrupt(name: str, what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    after = Job("after", engines.mark, {"file": tmp_path / "after.txt"})
    with pytest.raises(KeyboardInterrupt):
        Local().run([Job("square", engines.square, {"number": 1}), after], interrupt)
    assert not (tmp_path / "after.txt").exists()


def test_a_killed_process_is_one_line(tmp_path: Path) -> None:
    others = [Job(f"more {n}", engines.mark, {"file": tmp_path / f"{n}.txt"}) for n in range(5)]
    dying = [Job("dies", engines.die, {"file": tmp_path / "d", "times": 9}), *others]
    with pytest.raises(StudyError, match=r"^dies: its process was ended twice .*`medal resume` goes on$"):
        Local(2).run(dying)
    assert (tmp_path / "d").read_text() == "xx"
    assert sorted(p.name for p in tmp_path.glob("*.txt")) == [f"{n}.txt" for n in range(5)]


def test_a_job_whose_process_was_killed_once_is_done_again(tmp_path: Path) -> None:
    slow = Job("slow", engines.mark_slowly, {"file": tmp_path / "slow.txt", "seconds": 1.0})
    dying = [Job(f"dies {n}", engines.die, {"file": tmp_path / f"d{n}", "times": 1}) for n in range(2)]
    told: list[str] = []
    found = Local(2).run([dying[0], slow, dying[1]], lambda name, *_: told.append(name))
    assert found == [2, "slow.txt", 2]
    # the jobs beside it are not begun again
    assert told.count("slow") == 1


def test_every_job_has_an_outcome(engine: Engine) -> None:
    jobs = [Job("refused", engines.refuse, {"number": 5}), Job("square", engines.square, {"number": 3})]
    (error, nothing), (none, value) = engine.outcomes(jobs)
    assert (str(error), nothing, none, value) == ("found 5, expected another", None, None, 9)


def test_an_interrupt_ends_all_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Job(n, engines.mark_slowly, {"file": tmp_path / f"{n}.txt", "seconds": 60}) for n in "ab"]
    pids = [tmp_path / "a.pid", tmp_path / "b.pid"]

    def interrupted(*_: object, **__: object) -> None:
        while not all(p.exists() and p.read_text() for p in pids):
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr("medal.engine.local.wait", interrupted)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Local(2).run(jobs)
    assert time.monotonic() - begun < 50
    assert all(engines.gone(int(p.read_text())) for p in pids)
    assert not list(tmp_path.glob("*.txt"))


def test_resources_choose_the_engine() -> None:
    chosen = engine_of(Resources(processes=3, threads=2))
    assert isinstance(chosen, Local)
    assert (chosen.processes, chosen.threads) == (3, 2)
    assert [chosen.at_a_time(jobs) for jobs in (0, 1, 2, 9)] == [1, 1, 2, 3]
    assert engine_of(Resources()).at_a_time(10**6) == cores()
    assert engine_of(Resources(threads=10**6)).at_a_time(5) == 1
    assert cores() <= (os.cpu_count() or 1)


def test_the_first_error_is_the_first_in_order() -> None:
    jobs = [Job(name, engines.square) for name in "abc"]
    raise_first(jobs, {})
    with pytest.raises(BadInput, match=r"^b: no pixels$"):
        raise_first(jobs, {2: StudyError("late"), 1: BadInput("no pixels", path="secret")})


def test_messages_are_spaced_except_finished_rounds() -> None:
    told: list[str] = []
    tell = spaced(lambda what, done, total: told.append(what))
    for what in ("training", "training", "round 1", "training", "round 2"):
        tell(what, 0, 1)
    assert told == ["training", "round 1", "round 2"]


def test_every_numeric_library_has_the_threads_of_the_job() -> None:
    try:
        settle_process(2)
        many = engines.settings(lambda *_: None)
        settle_process(1)
        one = engines.settings(lambda *_: None)
    finally:
        settle_process(1)
    assert (many["threads"], many["pools"]) == (2, [2])
    assert (one["threads"], one["pools"]) == (1, [1])
