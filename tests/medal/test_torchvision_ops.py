"""torchvision beside a CPU build of torch: mended when broken, untouched when healthy, ignored when absent."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

from medal import torchvision_ops
from medal.torchvision_ops import prepare_torchvision


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the next imports of torchvision do, in order: raise, or give a module. The real ones are put aside."""
    script: list[object] = []

    def fake(name: str) -> object:
        assert name == "torchvision"
        outcome = script.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(torchvision_ops, "_KEEP", [])
    monkeypatch.setattr(importlib, "import_module", fake)
    return script


def test_an_absent_torchvision_is_no_error(imports: list[object]):
    imports.append(ModuleNotFoundError("No module named 'torchvision'"))
    assert not prepare_torchvision()


def test_a_healthy_torchvision_is_untouched(imports: list[object]):
    imports.append(ModuleType("torchvision"))
    assert not prepare_torchvision()
    assert torchvision_ops._KEEP == []


def test_another_failure_is_not_hidden(imports: list[object]):
    imports.append(RuntimeError("CUDA is out of memory"))
    with pytest.raises(RuntimeError, match="CUDA is out of memory"):
        prepare_torchvision()


def test_what_is_imported_already_is_left(imports: list[object], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    assert not prepare_torchvision()
    assert imports == []


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_the_installed_torchvision_can_be_used_afterwards():
    """In a process of its own, because the first import decides."""
    program = (
        "import sys, medal\n"
        "from medal.torchvision_ops import prepare_torchvision\n"
        "assert 'torchvision' not in sys.modules\n"
        "first = prepare_torchvision()\n"
        "import torch, torchvision\n"
        "from torchvision.models import resnet18\n"
        "assert resnet18().eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)\n"
        "assert prepare_torchvision() == first\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
