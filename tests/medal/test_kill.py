"""A campaign that is killed at random moments and resumed each time ends as the uninterrupted one does."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import toy

from medal.study import Study

KILLS = 20
SERVER = multiprocessing.get_context("forkserver")
# imported once and forked, so that the kills fall into the campaign and not into the start of Python
SERVER.set_forkserver_preload(["toy"])


def start(folder: Path) -> BaseProcess:
    ready = SERVER.Event()
    process = SERVER.Process(target=toy.killable, args=(folder, ready), daemon=True)
    process.start()
    assert ready.wait(timeout=120)
    return process


def finish(folder: Path) -> float:
    """Plays a campaign to its end; returns how long it worked."""
    process = start(folder)
    began = time.monotonic()
    process.join(timeout=300)
    assert process.exitcode == 0
    return time.monotonic() - began


def killed_after(folder: Path, delay: float) -> bool:
    """Kills a campaign some time after it began to work; False when it had ended before."""
    process = start(folder)
    process.join(timeout=delay)
    if process.exitcode is not None:
        assert process.exitcode == 0
        return False
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(timeout=10)
    return True


def test_sigkill_at_twenty_random_moments_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the server's preload looks along PYTHONPATH alone
    monkeypatch.setenv("PYTHONPATH", f"{Path(toy.__file__).parent}{os.pathsep}{Path(__file__).parents[2]}")
    lasted = finish(tmp_path / "whole")
    clock, kills, landed, folders = random.Random(20), 0, set(), [tmp_path / "killed0"]
    while kills < KILLS:
        if killed_after(folders[-1], clock.uniform(0.0, lasted / 6)):
            kills += 1
            if Study.exists(folders[-1]):
                with Study.open(folders[-1], write=False) as study:
                    landed.add(len(study.ledger))
        else:
            folders.append(tmp_path / f"killed{len(folders)}")
    finish(folders[-1])
    assert len(landed) >= 4, f"all kills fell on the same few steps: {landed}"

    with Study.open(tmp_path / "whole", write=False) as whole:
        whole.ledger.verify()
        for folder in folders:
            with Study.open(folder, write=False) as other:
                other.ledger.verify()
                assert [(e.kind, e.content) for e in other.ledger.events()] == [
                    (e.kind, e.content) for e in whole.ledger.events()
                ]
                assert other.ledger.head() == whole.ledger.head()
