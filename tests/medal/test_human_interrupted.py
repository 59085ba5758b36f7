"""Commands of a hospital study that are killed at any moment and given again end as if nothing had been."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import clinic as support
import pytest
from clinic import patients, truth_of

from medal.ledger import Ledger
from medal.study import Study

SOURCE, TRUTH = patients(80)
RIGHT = truth_of(SOURCE, TRUTH)


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))


class Killed(BaseException):
    """What a signal would do."""


def insist(folder: Path) -> None:
    for step in range(6):
        while True:
            try:
                support.play(folder, SOURCE, RIGHT, step)
            except Killed:
                continue
            break


def test_killed_at_every_append_it_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command is killed before and after each event that it writes, and run again."""
    insist(tmp_path / "whole")
    write, seen = Ledger.append, set()

    def append(ledger: Ledger, kind: str, *rest: Any) -> Any:
        moment = (kind, len(ledger) if kind != "asked" else len(list(ledger.events("asked"))))
        if ("before", *moment) not in seen:
            seen.add(("before", *moment))
            raise Killed
        event = write(ledger, kind, *rest)
        if ("after", *moment) not in seen:
            seen.add(("after", *moment))
            raise Killed
        return event

    monkeypatch.setattr(Ledger, "append", append)
    insist(tmp_path / "killed")
    monkeypatch.undo()
    assert len(seen) > 20
    with (
        Study.open(tmp_path / "whole", write=False) as whole,
        Study.open(tmp_path / "killed", write=False) as killed,
    ):
        assert [(e.kind, e.content) for e in killed.ledger.events()] == [
            (e.kind, e.content) for e in whole.ledger.events()
        ]
        assert killed.ledger.head() == whole.ledger.head()
        assert killed.ledger.verify()


SERVER = multiprocessing.get_context("forkserver")
# imported once and forked, so that the kills fall into the commands and not into the start of Python
SERVER.set_forkserver_preload(["clinic"])


@pytest.mark.slow
def test_sigkill_at_random_moments_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{Path(support.__file__).parent}{os.pathsep}{Path(__file__).parents[2]}")

    def start(folder: Path) -> tuple[Any, float]:
        ready = SERVER.Event()
        process = SERVER.Process(target=support.killable, args=(folder, ready), daemon=True)
        process.start()
        assert ready.wait(timeout=120)
        return process, time.monotonic()

    process, began = start(tmp_path / "whole")
    process.join(timeout=300)
    assert process.exitcode == 0
    lasted, clock, kills = time.monotonic() - began, random.Random(3), 0
    while kills < 12:
        process, _ = start(tmp_path / "killed")
        process.join(timeout=clock.uniform(0.0, lasted / 3))
        if process.exitcode is not None:
            assert process.exitcode == 0
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join(timeout=10)
        kills += 1
    process, _ = start(tmp_path / "killed")
    process.join(timeout=300)
    assert process.exitcode == 0
    assert kills >= 4
    with (
        Study.open(tmp_path / "whole", write=False) as whole,
        Study.open(tmp_path / "killed", write=False) as killed,
    ):
        assert killed.ledger.head() == whole.ledger.head()
        assert killed.ledger.verify().events == whole.ledger.verify().events
