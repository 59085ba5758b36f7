import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import medal.ledger
from medal.errors import StudyError, StudyLocked
from medal.ledger import Ledger

ROOT = Path(medal.ledger.__file__).parents[1]


def fill(path, n=5):
    with Ledger(path) as ledger:
        for i in range(n):
            ledger.append("asked" if i % 2 == 0 else "answered", {"round": i, "scores": [0.1 * i]}, {"seconds": i})
    return path


def child(code, *arguments, **kwargs):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], env=environment, **kwargs)


APPEND = """
import sys
from medal.ledger import Ledger
with Ledger(sys.argv[1]) as ledger:
    for i in range(int(sys.argv[3])):
        with ledger.step():
            ledger.append("first", {"who": sys.argv[2], "i": i})
            ledger.append("second", {"who": sys.argv[2], "i": i})
"""


def test_several_writers_and_a_reader_at_once(tmp_path):
    path = tmp_path / "ledger.db"
    writers = [child(APPEND, path, who, 40) for who in range(4)]
    seen = 0
    while any(w.poll() is None for w in writers):
        if path.exists() and path.stat().st_size:
            try:
                with Ledger(path, read_only=True) as reader:
                    report = reader.verify()
                    assert report.events % 2 == 0
                    assert report.events >= seen
                    seen = report.events
            except StudyError as error:
                if "is empty" not in str(error):
                    raise
    assert [w.wait() for w in writers] == [0] * 4
    with Ledger(path, read_only=True) as ledger:
        assert ledger.verify().events == 4 * 40 * 2
        content = [(e.content["who"], e.content["i"]) for e in ledger.events()]
    assert content[::2] == content[1::2]
    for who in "0123":
        assert [i for w, i in content[::2] if w == who] == list(range(40))


def test_a_busy_ledger_says_so(tmp_path):
    path = fill(tmp_path / "ledger.db")
    with Ledger(path) as first, Ledger(path) as second:
        second._db.execute("PRAGMA busy_timeout = 50")
        with first.step(), pytest.raises(StudyLocked, match="being written by another process"):
            second.append("a", {})
        second.append("a", {})
        assert second.verify().events == 6


KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
from medal.ledger import Ledger
path, rng, heads = Path(sys.argv[1]), random.Random(0), []
for turn in range(12):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        ledger = Ledger(path)
        n = len(ledger) // 2
        while True:
            with ledger.step():
                ledger.append("first", {"n": n, "x": "x" * (n % 7 * 700)})
                ledger.append("second", {"n": n})
            n += 1
            os.write(writer, n.to_bytes(4, "big"))
    os.close(writer)
    os.read(reader, 4)
    time.sleep(rng.random() * 0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    promised = 0
    while block := os.read(reader, 1 << 16):
        promised = int.from_bytes(block[-4:], "big")
    os.close(reader)
    with Ledger(path) as ledger:
        heads.append((promised, ledger.verify().events, len(list(ledger.events("first")))))
print(json.dumps(heads))
"""


def test_kill_9_at_any_moment_loses_nothing_that_was_promised(tmp_path):
    process = child(KILLED, tmp_path / "ledger.db", stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=100)
    heads = json.loads(out)
    assert len(heads) == 12
    before = 0
    for promised, events, firsts in heads:
        assert events == 2 * firsts  # a step is whole or not there
        assert events // 2 >= promised  # what append returned from is on the disk
        assert events // 2 - promised <= 1
        assert events > before
        before = events
    # the killed and resumed ledger equals one that was never killed
    with Ledger(tmp_path / "calm.db") as calm:
        for n in range(before // 2):
            with calm.step():
                calm.append("first", {"n": n, "x": "x" * (n % 7 * 700)})
                calm.append("second", {"n": n})
        with Ledger(tmp_path / "ledger.db", read_only=True) as killed:
            assert killed.head() == calm.head()


def test_a_forked_process_must_open_its_own(tmp_path, monkeypatch):
    with Ledger(fill(tmp_path / "ledger.db")) as ledger:
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(StudyError, match="a forked process must open it itself"):
            ledger.append("a", {})


def test_a_copied_ledger_verifies(tmp_path):
    path = fill(tmp_path / "ledger.db")
    shutil.copy(path, tmp_path / "copy.db")
    with Ledger(path, read_only=True) as first, Ledger(tmp_path / "copy.db", read_only=True) as second:
        assert first.verify() == second.verify()


def test_the_ledger_needs_no_torch():
    code = "import sys, medal.ledger, medal.study; sys.exit('torch' in sys.modules)"
    assert child(code).wait() == 0
