"""The command line as a user meets it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from medal.cli import app
from medal.errors import ConfigError, MedalError, StudyError, UnknownName
from medal.recipe import load
from medal.run import INDEX, load_run, plan
from medal.study import Study

ONE = "resources.processes=1"
runner = CliRunner()


def call(*words: str) -> str:
    """Runs one command in this process; errors come out as they are raised."""
    result = runner.invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    call("run", "chest_xray", ONE, "--smoke", "-o", str(folder))
    return folder


def test_help_comes_within_a_second_and_without_torch() -> None:
    def once() -> float:
        began = time.process_time(), time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "medal", "--help"], capture_output=True, text=True, check=True)
        assert "medal run chest_xray" in done.stdout
        return time.perf_counter() - began[1]

    assert min(once() for _ in range(3)) < 1.0


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "resume",
        "status",
        "report",
        "explain",
        "predict",
        "export",
        "list",
        "doctor",
        "config show",
        "ledger verify",
    ],
)
def test_every_command_explains_itself(command: str) -> None:
    assert len(call(*command.split(), "--help").splitlines()) > 5


def test_a_run_leaves_studies_and_a_report(played: Path) -> None:
    run = load_run(played)
    assert [e.arm for e in run.studies] == ["beta_epistemic", "random"]
    page = (played / "report" / "report.html").read_text()
    assert "beta_epistemic" in page
    assert all(Study.exists(run.path(e)) for e in run.studies)


def test_both_arms_share_learner_and_start_set(played: Path) -> None:
    run = load_run(played)
    learners = {json.dumps(r.learner.model_dump(), default=str, sort_keys=True) for r in run.arms.values()}
    assert len(learners) == 1
    asked = []
    for entry in run.studies:
        with Study.open(run.path(entry), write=False) as study:
            events = list(study.ledger.events("asked"))
            asked.append([e.content["ids"] for e in events if e.content["round"] == 0])
            weights = next(iter(study.ledger.events("trained"))).content["weights"]
            asked[-1].append(weights)
    assert asked[0] == asked[1]


def test_status_shows_every_study(played: Path) -> None:
    told = call("status", str(played))
    assert told.count("finished") == 2


def test_explain_says_why(played: Path) -> None:
    with Study.open(played / "studies" / "beta_epistemic-seed0", write=False) as study:
        event = [e for e in study.ledger.events("asked") if e.content["purpose"] == "query"][-1]
    told = call("explain", event.content["ids"][0], str(played))
    assert "beta_epistemic" in told
    assert "round 2" in told


def test_explain_of_an_unknown_unit_is_one_line(played: Path) -> None:
    with pytest.raises(MedalError, match="Inothing"):
        call("explain", "Inothing", str(played))


def test_ledger_verify_prints_heads(played: Path) -> None:
    with Study.open(played / "studies" / "random-seed0", write=False) as study:
        assert study.ledger.head() in call("ledger", "verify", str(played))


def test_predict_writes_probabilities_by_pseudonym(played: Path, tmp_path: Path) -> None:
    call("predict", str(played), "-o", str(tmp_path / "p.csv"))
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert len(rows) == 40
    assert all(r["id"].startswith("I") and r["patient"].startswith("P") for r in rows)
    values = [float(v) for r in rows for k, v in r.items() if k not in {"id", "patient"}]
    assert all(0 <= v <= 1 for v in values)


def test_predicting_at_another_resolution_is_refused(played: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"trained on images of 1 x 32 x 32, the data give 1 x 48 x 48.*data.size"):
        call("predict", str(played), "-d", "data.size=48", "-o", str(tmp_path / "p.csv"))


def test_export_can_be_started_from_and_predicts_the_same(played: Path, tmp_path: Path) -> None:
    call("export", str(played), "-o", str(tmp_path / "model"))
    card = (tmp_path / "model" / "model_card.md").read_text()
    assert "not for diagnosis" in card
    from safetensors.torch import load_file

    weights = load_file(tmp_path / "model" / "model.safetensors")
    with Study.open(played / "studies" / "beta_epistemic-seed0", write=False) as study:
        own = study.load_weights(2)
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[k], own[k]) for k in own)
    call(
        "run",
        "chest_xray",
        ONE,
        f"learner.init={tmp_path / 'model' / 'model.safetensors'}",
        "--smoke",
        "-o",
        str(tmp_path / "warm"),
    )


def test_dry_run_tells_and_writes_nothing_but_the_cache(tmp_path: Path) -> None:
    told = call("run", "chest_xray", ONE, "--smoke", "--dry-run", "-o", str(tmp_path / "r"))
    assert "expert minutes" in told
    assert "time on this machine" in told
    assert not (tmp_path / "r" / INDEX).exists()
    assert not (tmp_path / "r" / "studies").exists()


def test_a_second_run_in_one_folder_is_refused(played: Path) -> None:
    with pytest.raises(ConfigError, match="medal resume"):
        call("run", "chest_xray", "--smoke", "-o", str(played))


def test_a_run_among_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ConfigError, match="is a file or holds other files"):
            call("run", "chest_xray", "--smoke", "-o", str(folder))
    with pytest.raises(StudyError, match="cannot write in"):
        call("run", "chest_xray", "--smoke", "-o", str(tmp_path / "notes.txt" / "run"))


def test_a_run_that_cannot_begin_leaves_the_folder_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        call("run", "chest_xray", ONE, "--smoke", "data=nih", f"data.root={tmp_path / 'typo'}")
    with pytest.raises(ConfigError, match=r"oracle.miss"):
        call("run", "chest_xray", ONE, "--smoke", "oracle=noisy", "oracle.miss=2")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["chest_xray"]
    assert not (tmp_path / "runs" / "chest_xray" / INDEX).exists()


def test_the_index_keeps_the_absolute_place_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan("x", load("chest_xray", ["data=nih", "data.root=images"]), tmp_path / "r").write()
    assert load_run(tmp_path / "r").main.data.model_dump()["root"] == str(tmp_path / "images")


def test_a_dry_run_leaves_the_name_and_the_cache_to_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("run", "chest_xray", ONE, "--smoke", "unit=finding", "budget.unit=minutes", "budget.per_round=2")
    told = call(*words, "baselines=[]", "--dry-run")
    assert "32 items" in told  # 12 images and two rounds of ten findings at 0.2 minutes
    call(*words, "baselines=[]")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["chest_xray"]


@pytest.mark.parametrize(
    "text", ["[]", '{"format": 1}', '{"format": 1, "recipe": "a", "arms": {"x": {"task": 1}}, "studies": []}']
)
def test_a_damaged_index_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(StudyError, match=r"run format|is damaged"):
        call("status", str(tmp_path))


def test_results_cannot_be_written_over_folders_and_files(played: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for words in (("predict", str(tmp_path)), ("export", str(tmp_path / "file")), ("report", str(tmp_path / "file"))):
        with pytest.raises(StudyError, match="cannot write in"):
            call(words[0], str(played), "-o", words[1])


def test_resume_of_a_finished_run_changes_no_head(played: Path) -> None:
    before = call("ledger", "verify", str(played))
    call("resume", str(played))
    assert call("ledger", "verify", str(played)) == before


def test_two_processes_at_a_time_give_the_heads_of_one(played: Path, tmp_path: Path) -> None:
    call("run", "chest_xray", "resources.processes=2", "--smoke", "-o", str(tmp_path / "two"))

    def picks(folder: Path) -> list[list[str]]:
        run = load_run(folder)
        found = []
        for entry in run.studies:
            with Study.open(run.path(entry), write=False) as study:
                found += [e.content["ids"] for e in study.ledger.events("asked")]
                found.append([e.content["weights"] for e in study.ledger.events("trained")])
        return found

    assert picks(tmp_path / "two") == picks(played)


def test_an_interrupted_run_ends_with_the_same_content(played: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "medal", "run", "chest_xray", ONE, "--smoke", "-o", str(tmp_path / "r")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    folder = tmp_path / "r" / "studies" / "beta_epistemic-seed0"
    deadline = time.monotonic() + 120
    while not Study.exists(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    call("resume", str(tmp_path / "r"))
    heads = [call("ledger", "verify", str(f)) for f in (played, tmp_path / "r")]
    contents = []
    for f in (played, tmp_path / "r"):
        with Study.open(f / "studies" / "beta_epistemic-seed0", write=False) as study:
            contents.append([(e.kind, e.content) for e in study.ledger.events()])
    assert contents[0] == contents[1]
    assert heads[0] == heads[1]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_run_and_leave_it_resumable(how: signal.Signals, played: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    words = ["run", "chest_xray", "resources.processes=2", "learner.steps=20000", "--smoke", "-o", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "medal", *words], env=environment, stdout=-3, stderr=subprocess.PIPE
    )
    both = [folder / "studies" / f"{arm}-seed0" for arm in ("beta_epistemic", "random")]
    deadline = time.monotonic() + 120
    while not all(Study.exists(f) for f in both) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(how)
    _, told = process.communicate(timeout=60)
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert f"medal resume {folder}".encode() in told
        assert b"Traceback" not in told
    time.sleep(1.5)
    for study in both:
        Study.open(study).close()  # nobody holds it any more


def test_lists() -> None:
    assert "beta_epistemic" in call("list", "works")
    assert "chest_xray" in call("list", "tasks")
    assert "nih" in call("list", "data")
    with pytest.raises(UnknownName, match="did you mean 'works'"):
        call("list", "work")


def test_config_show_and_schema() -> None:
    assert "steps: 77" in call("config", "show", "chest_xray", "learner.steps=77")
    assert json.loads(call("config", "schema"))["title"] == "Recipe"


def test_a_typo_is_answered_with_the_right_word() -> None:
    with pytest.raises(UnknownName, match=r"learner\.epoch.*did you mean 'epochs'"):
        call("run", "chest_xray", "learner.epoch=20")
    with pytest.raises(UnknownName, match="did you mean 'bald'"):
        call("run", "chest_xray", "strategy=bold")


def test_main_prints_one_line_and_exits_with_two() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "medal", "run", "chest_xrai"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "error: unknown recipe 'chest_xrai'; did you mean 'chest_xray'?"


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    for command in ("resume", "status"):
        with pytest.raises(StudyError, match="is no run"):
            call(command, str(tmp_path))


def test_other_data_under_a_study_are_refused(played: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(played, tmp_path / "r")
    index = json.loads((tmp_path / "r" / INDEX).read_text())
    for recipe in index["arms"].values():
        recipe["data"]["seed"] = 5
    (tmp_path / "r" / INDEX).write_text(json.dumps(index))
    with pytest.raises(ConfigError, match="begun with other images"):
        call("resume", str(tmp_path / "r"))


def test_two_processes_on_one_study_are_refused(played: Path) -> None:
    with Study.open(played / "studies" / "random-seed0"), pytest.raises(MedalError, match="process"):
        call("resume", str(played))


def test_doctor_looks_at_codecs_and_device() -> None:
    result = runner.invoke(app, ["doctor"], catch_exceptions=False)
    for word in ("torch", "device", "disk", "JPEG 2000", "torchvision", "pseudonyms"):
        assert word in result.output
