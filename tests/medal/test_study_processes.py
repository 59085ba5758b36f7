import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import medal.storage
import medal.study
from medal.errors import StudyError, StudyLocked
from medal.ledger import Ledger
from medal.study import Study

ROOT = Path(medal.study.__file__).parents[1]
OPENED = {"medal": "0.1.0", "task": "chest_xray", "arm": "random", "seed": 3}
UNITS = [
    {"id": "I1", "group": "P1", "split": "pool", "sex": "F"},
    {"id": "I2", "group": "P2", "split": "test", "sex": ""},
]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    Study.create(tmp_path / "study", OPENED).close()
    return tmp_path / "study"


def child(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


HOLDER = """
import sys, time
from medal.study import Study
study = Study.open(sys.argv[1])
study.ledger.append("asked", {"round": 0, "ids": ["a"], "cost": {}, "purpose": "start"})
print("open", flush=True)
time.sleep(60)
"""


def test_a_second_writer_is_refused_by_pid_and_a_killed_one_never_blocks(folder):
    process = child(HOLDER, folder)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StudyLocked, match=f"in use by process {process.pid}"):
            Study.open(folder)
        with pytest.raises(StudyLocked, match=f"in use by process {process.pid}"):
            Study.create(folder, OPENED)
        with Study.open(folder, write=False) as reader:  # reading never waits
            assert reader.state()["next"] == "answer"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
    with Study.open(folder) as study:
        assert study.ledger.verify().events == 2


def test_the_same_process_cannot_write_twice(folder):
    with Study.open(folder), pytest.raises(StudyLocked, match="this very process"):
        Study.open(folder)
    Study.open(folder).close()


def test_reading_takes_no_lock_and_changes_nothing(folder):
    before = {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    with Study.open(folder, write=False) as first, Study.open(folder, write=False), Study.open(folder) as writer:
        writer.ledger.append("closed", {"reason": "x"})
        assert first.state()["finished"]
    with Study.open(folder, write=False) as study:
        for change in (
            lambda: study.save_weights(0, {}),
            lambda: study.save_previews({}),
            lambda: study.write_units(UNITS),
            lambda: study.ledger.append("closed", {}),
        ):
            with pytest.raises(StudyError, match="open for reading; open it for writing"):
                change()
    after = {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    assert before.keys() == after.keys()
    assert [p.name for p in before if before[p] != after[p]] == ["ledger.db"]


def test_a_reader_sees_what_a_writer_adds(folder):
    with Study.open(folder) as writer, Study.open(folder, write=False) as reader:
        assert not reader.state()["finished"]
        writer.ledger.append("closed", {"reason": "done"})
        assert reader.state()["reason"] == "done"


def test_close_twice(folder):
    study = Study.open(folder)
    study.close()
    study.close()
    Study.open(folder).close()


def test_the_making_is_whole_or_can_be_done_again(tmp_path, monkeypatch):
    """Dies at each call that changes the disk, in turn; whatever stands then, `create` finishes it."""
    steps = 0
    while True:
        folder = tmp_path / f"{steps}"
        countdown = [steps]

        def dies(real, countdown=countdown):
            def call(*args, **kwargs):
                if countdown[0] == 0:
                    raise KeyboardInterrupt
                countdown[0] -= 1
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for target, name in ((Path, "mkdir"), (Path, "replace"), (os, "open"), (os, "fsync"), (Ledger, "append")):
                patch.setattr(target, name, dies(getattr(target, name)))
            try:
                Study.create(folder, OPENED, UNITS).close()
                finished = True
            except KeyboardInterrupt:
                finished = False
        if finished:
            break
        if Study.exists(folder):
            with Study.open(folder) as study:
                assert study.read_units() == UNITS
        else:
            Study.create(folder, OPENED, UNITS).close()
        assert names(folder) == ["ledger.db", "lock", "outputs", "predictions", "previews", "units.csv", "weights"]
        steps += 1
    assert steps > 8


CAMPAIGN = """
import os, sys
from medal.storage import sha256_file, write_bytes
from medal.study import Study
folder, steps, die_untold = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "untold"
study = Study.open(folder) if Study.exists(folder) else Study.create(folder, {"seed": 0})
while (state := study.state())["next"] != "nothing":
    if steps == 0:
        os.kill(os.getpid(), 9)
    steps -= 1
    n = 0 if state["evaluated"] is None else state["evaluated"] + 1
    path = study.weights_path(n)
    if state["next"] == "ask" and n == 2:
        study.ledger.append("closed", {"reason": "played"})
    elif state["next"] == "ask":
        cost = {"items": 2.0, "minutes": 1.0}
        study.ledger.append("asked", {"round": n, "purpose": "query", "ids": [f"a{n}", f"b{n}"], "cost": cost})
    elif state["next"] == "answer":
        ids = study.ledger.last("asked").content["ids"]
        study.ledger.append("answered", {"round": n, "purpose": "query", "ids": ids}, {"seconds": os.getpid()})
    elif state["next"] == "train":
        write_bytes(path, b"weights of round %d" % n)
        if die_untold:
            os.kill(os.getpid(), 9)
        study.ledger.append("trained", {"round": n, "weights": sha256_file(path)})
    else:
        assert sha256_file(path) == study.ledger.last("trained").content["weights"]
        study.ledger.append("evaluated", {"round": n, "macro": {}})
print(study.ledger.head())
"""


def test_killed_and_resumed_campaigns_have_the_same_hash(tmp_path):
    def play(name, steps, untold="told"):
        process = child(CAMPAIGN, tmp_path / name, steps, untold)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    code, head = play("calm", -1)
    assert code == 0
    deaths = 0
    while (torn := play("torn", 1))[0] == -9:  # dies after each step that it takes
        deaths += 1
        if deaths % 4 == 2:
            assert play("torn", 1, "untold")[0] == -9  # after the weights, before their event
    assert torn == (0, head)
    assert deaths == 8
    with Study.open(tmp_path / "torn", write=False) as study:
        assert study.state()["spent"] == {"items": 4, "minutes": 2}
