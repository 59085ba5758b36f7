"""Connecting to Ray: what is said when it is absent or nobody answers, and an environment that stays as it was."""

from __future__ import annotations

import os
import sys

import pytest

from medal.engine import engine_of
from medal.engine.cluster import SETTINGS, _settings, connected
from medal.engine.surroundings import Surroundings
from medal.errors import ConfigError, MissingDependency, StudyError
from medal.schema import Resources


def test_an_absent_package_is_one_line_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r'needs the package ray; install it with `pip install "medal-imaging'):
        engine_of(Resources(engine="ray"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:many"])
def test_nobody_at_an_address_is_one_line(address: str) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with pytest.raises(ConfigError, match=r"^resources.address: no Ray cluster answers at '"), connected(1, address):
        pass


def test_settings_of_ray_leave_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = sorted(SETTINGS)
    monkeypatch.setenv(first, "mine")
    monkeypatch.delenv(second, raising=False)
    with _settings():
        assert {name: os.environ[name] for name in SETTINGS} == SETTINGS
    assert os.environ[first] == "mine"
    assert second not in os.environ


def test_surroundings_of_another_process_are_entered(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there")
    monkeypatch.chdir(there)
    monkeypatch.setenv("MEDAL_PRIVATE", "sent")
    monkeypatch.setenv("MEDAL_DATA", "old")
    sent = Surroundings.here()
    monkeypatch.chdir(here)
    monkeypatch.setenv("MEDAL_PRIVATE", "the worker's")
    monkeypatch.setenv("MEDAL_ONLY_HERE", "1")
    sent.enter()
    assert os.getcwd() == str(there)
    assert os.environ["MEDAL_PRIVATE"] == "sent"
    assert "MEDAL_ONLY_HERE" not in os.environ
    monkeypatch.chdir(here)
    there.rmdir()
    with pytest.raises(StudyError, match="expected a file system that all machines share"):
        sent.enter()
