"""What is made once: by the first that comes, while the others wait; killed at any moment it can be made again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from medal.once import made_once


def read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def play(folder: Path, pause: float) -> None:
    """Makes the file slowly, and notes who made it."""

    def make() -> str:
        (folder / f"made by {os.getpid()}").touch()
        time.sleep(pause)
        return "content"

    assert made_once(folder / "it", read, make, lambda path, text: path.write_text(text)) == "content"


def makers(folder: Path) -> int:
    return len(list(folder.glob("made by *")))


def wait_for(folder: Path, count: int) -> None:
    end = time.monotonic() + 30
    while makers(folder) < count and time.monotonic() < end:
        time.sleep(0.01)
    assert makers(folder) == count


@pytest.fixture
def processes():
    context = multiprocessing.get_context("fork")
    running: list = []

    def begin(folder: Path, pause: float):
        running.append(context.Process(target=play, args=(folder, pause)))
        running[-1].start()
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.join()


def test_the_second_process_waits_and_takes_what_the_first_made(tmp_path: Path, processes):
    first = processes(tmp_path, 0.6)
    wait_for(tmp_path, 1)
    second = processes(tmp_path, 0.0)
    for process in (first, second):
        process.join(30)
        assert process.exitcode == 0
    assert makers(tmp_path) == 1


def test_after_a_kill_the_next_one_makes_it(tmp_path: Path, processes):
    first = processes(tmp_path, 60)
    wait_for(tmp_path, 1)
    second = processes(tmp_path, 0.0)
    time.sleep(0.3)
    assert makers(tmp_path) == 1
    os.kill(first.pid, signal.SIGKILL)
    second.join(30)
    assert second.exitcode == 0
    assert makers(tmp_path) == 2


def test_an_error_lets_the_lock_go_and_stores_nothing(tmp_path: Path):
    def fail() -> str:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            made_once(tmp_path / "new" / "it", read, fail, lambda *_: None)
    play(tmp_path, 0.0)


def test_without_a_path_nothing_is_kept(tmp_path: Path):
    made: list[int] = []
    for _ in range(2):
        assert made_once(None, read, lambda: made.append(1) or "x", lambda *_: pytest.fail("written")) == "x"
    assert len(made) == 2
