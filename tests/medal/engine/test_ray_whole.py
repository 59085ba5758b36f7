"""Whole runs on Ray: a real recipe with a killed worker, a driver that is stopped or killed, a cluster of two nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engines
import pytest

from medal.engine import Job, quiet
from medal.recipe import load
from medal.run import Run, execute, plan
from medal.study import LOCK, Study

pytest.importorskip("ray", reason="the extra ray is not installed")

from medal.engine.ray import Ray

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
DRIVER = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
import engines
from medal.engine import Job
from medal.engine.ray import Ray
if __name__ == "__main__":
    folder = Path({folder!r})
    jobs = [Job(str(n), engines.mark_slowly, {{"file": folder / f"{{n}}.txt", "seconds": 300}}) for n in range(2)]
    Ray(at_most=2).run(jobs)
"""


def heads(run: Run) -> list[str]:
    found = []
    for entry in run.studies:
        with Study.open(run.path(entry), write=False) as study:
            study.ledger.verify()
            found.append(study.ledger.head())
    return found


def test_a_run_with_a_killed_worker_and_a_pool_scored_by_workers_has_the_hashes_of_the_local_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["strategy=bald", "baselines=[]", "learner.predict_batch=8"]
    killed: list[int] = []

    def kill(name: str, what: str, done: int, total: int) -> None:
        if what == "round 0" and not killed:
            killed.append(int(Path("on_ray", name, LOCK).read_text().split()[0]))
            os.kill(killed[0], signal.SIGKILL)

    found = {}
    # one study and two workers: the second has room for the pool's blocks
    for where, engine, notify in (("local", "local", quiet), ("on_ray", "ray", kill)):
        resources = ["resources.processes=2", f"resources.engine={engine}"]
        run = plan("chest_xray", load("chest_xray", [*words, *resources], smoke=True), Path(where))
        execute(run, notify)
        found[where] = heads(run)
    assert killed
    assert killed[0] != os.getpid()
    assert found["on_ray"] == found["local"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_a_driver_that_ends(how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(paths=[str(ROOT), str(Path(engines.__file__).parent)], folder=str(tmp_path)))
    driver = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL, cwd=tmp_path)
    files = [tmp_path / f"{n}.pid" for n in range(2)]
    deadline = time.monotonic() + 120
    while not all(f.exists() and f.read_text() for f in files) and time.monotonic() < deadline:
        time.sleep(0.1)
    driver.send_signal(how)
    driver.wait(timeout=60)
    assert all(engines.gone(int(f.read_text())) for f in files)
    assert list(tmp_path.glob("*.txt")) == []


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A cluster of two nodes of one core each, as `ray start` makes one on two machines."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.mark.filterwarnings("ignore")  # of Ray's own test cluster
def test_a_running_cluster_is_used_and_left_running(nodes: Any, tmp_path: Path) -> None:
    engine = Ray(address=nodes.address)
    jobs = [Job(f"s{n}", engines.mark_slowly, {"file": tmp_path / f"{n}.txt", "seconds": 1}) for n in range(2)]
    assert engine.run(jobs) == ["0.txt", "1.txt"]
    assert engine.run([Job("square", engines.square, {"number": 3})]) == [9]
    once = Job("dies", engines.die, {"file": tmp_path / "once", "times": 1})
    assert engine.run([once]) == [2]
