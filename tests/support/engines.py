"""Jobs that do what a test says, and the contract that every engine keeps."""

from __future__ import annotations

import os
import signal
import time
from hashlib import sha256
from pathlib import Path

import pytest

from medal.engine import Engine, Job
from medal.errors import ConfigError, StudyError
from medal.outputs import Outputs
from medal.source import Progress


def square(number: float, progress: Progress) -> float:
    progress("round 1", 1, 2)
    progress("round 2", 2, 2)
    return number * number


def refuse(number: float, progress: Progress) -> float:
    raise ConfigError(f"found {number}, expected another")


def break_down(progress: Progress) -> float:
    raise ZeroDivisionError("by nothing")


def settings(progress: Progress) -> dict[str, object]:
    import numpy  # noqa: F401 - its threads are looked at
    import torch
    from threadpoolctl import threadpool_info

    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "pools": sorted({pool["num_threads"] for pool in threadpool_info()}),
        "folder": os.getcwd(),
        "private": os.environ.get("MEDAL_PRIVATE"),
    }


def sums(seed: int, progress: Progress) -> list[float]:
    """Numbers that hang on the order of summation."""
    import torch

    a = torch.randn(257, 511, generator=torch.Generator().manual_seed(seed))
    return [float(v) for v in (a @ a.T).softmax(1).sum(0)[:8]]


def mark(file: Path, progress: Progress) -> str:
    file.write_text("done")
    return file.name


def mark_slowly(file: Path, seconds: float, progress: Progress) -> str:
    """Tells where it works, then takes its time."""
    file.with_suffix(".pid").write_text(str(os.getpid()))
    progress("round 1", 1, 2)
    time.sleep(seconds)
    return mark(file, progress)


def die(file: Path, times: int, progress: Progress) -> int:
    """Kills its own worker so many times, then returns how often it was begun."""
    begun = begun_once_more(file)
    if begun <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return begun


def begun_once_more(file: Path) -> int:
    with file.open("a") as handle:
        handle.write("x")
    return file.stat().st_size


def study(folder: Path, seed: int, kill_in_round: int | None, progress: Progress) -> str:
    """Plays a toy study; its worker is killed once in the middle of the training of a round. Returns the head hash."""
    import toy

    from medal.sampling import TopK
    from medal.strategy import Step, Strategy
    from medal.uncertainty import BALD

    begun = begun_once_more(folder.with_suffix(".begun"))
    source, truth = toy.planted(120, seed=5)
    bald = Strategy(Step(TopK(), BALD()), name="bald")
    loop = toy.campaign(folder, bald, source=source, truth=truth, seed=seed, head="mc", rounds=2, steps=40)

    def tell(what: str, done: int, total: int) -> None:
        if begun == 1 and loop.pool.round == kill_in_round and "train" in what:
            os.kill(os.getpid(), signal.SIGKILL)

    loop.progress = tell
    try:
        while not loop.finished:
            loop.step()
            progress(f"round {loop.pool.round}", loop.steps_done, loop.steps_total)
        loop.run()
        return loop.study.ledger.head()
    finally:
        loop.study.close()


def scored(folder: Path, progress: Progress) -> tuple[list[str], list[str], int]:
    """Hashes of a trained learner's blocks as computed in this process, and as workers alone compute them.

    Returns:
        Hashes of here, of elsewhere, and how many blocks there are.
    """
    import torch

    from medal.engine.scoring import Spread
    from medal.recipe import load, task_module
    from medal.seeding import Seed

    changes = ["strategy=bald", "learner.predict_batch=16", "resources.engine=ray"]
    recipe = load("chest_xray", changes, smoke=True)
    loop = task_module(recipe.task).make(recipe, 0, folder / "study", folder / "cache")
    while loop.study.ledger.last("trained") is None:
        loop.step()
    loop.study.close()
    rows = torch.arange(len(loop.source.ids))

    def hashes(outputs: Outputs) -> list[str]:
        names = sorted(outputs.available)
        chunks = outputs.chunks(frozenset(names), rows)
        return [f"{n} {sha256(c.get(n).numpy().tobytes()).hexdigest()}" for c in chunks for n in names]

    here = hashes(loop.learner.predict(folder / "here"))
    spread = Spread(loop.learner, recipe, loop.source, folder / "cache")
    spread.load_state_dict(loop.learner.state_dict(), Seed(0) / "round 0" / "learner")
    outputs = spread.predict(folder / "there")

    def refuse(*_: object) -> None:
        raise RuntimeError("a block was computed here")

    outputs._produce = refuse  # type: ignore[assignment]
    return here, hashes(outputs), -(-len(rows) // 16)


def gone(pid: int, seconds: float = 30) -> bool:
    """Whether a process ends within some time; what is left of one that nobody asked about counts as ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def check_results(engine: Engine) -> None:
    """Results in the order of the jobs, the numbers of this process, settled processes, and messages by name."""
    import torch

    told: list[tuple[str, str, int, int]] = []
    jobs = [
        *(Job(f"study {n}", square, {"number": n}) for n in (3, 1, 2)),
        Job("sums", sums, {"seed": 7}),
        Job("settings", settings, {}),
    ]
    assert isinstance(engine, Engine)
    *squares, numbers, found = engine.run(jobs, lambda *message: told.append(message))
    assert squares == [9, 1, 4]
    torch.set_num_threads(1)
    assert numbers == sums(7, lambda *_: None)
    private = os.environ.get("MEDAL_PRIVATE")
    assert found == {"threads": 1, "deterministic": True, "pools": [1], "folder": os.getcwd(), "private": private}
    assert {("study 3", "round 1", 1, 2), ("study 2", "round 2", 2, 2)} <= set(told)
    assert engine.run([]) == []


def check_errors(engine: Engine, folder: Path) -> None:
    """The first error in the order of the jobs, under its job's name and of its own type, when all have ended."""
    good = [Job(f"good {n}", mark, {"file": folder / f"{n}.txt"}) for n in range(2)]
    refused, broken = Job("studies/refused", refuse, {"number": 5}), Job("studies/broken", break_down)
    with pytest.raises(ConfigError, match=r"^studies/refused: found 5, expected another$"):
        engine.run([refused, good[0], broken, good[1]])
    assert all((folder / f"{n}.txt").exists() for n in range(2))


def check_defects(engine: Engine) -> None:
    """What is nobody's mistake but the program's is named, too."""
    broken = [Job("studies/broken", break_down), Job("studies/refused", refuse, {"number": 5})]
    with pytest.raises(StudyError, match=r"^studies/broken stopped \(ZeroDivisionError: by nothing\); `medal resume`"):
        engine.run(broken)
