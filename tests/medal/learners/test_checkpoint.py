"""Local checkpoints: tensors only, taken where they fit, refused where they do not."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from medal.errors import ConfigError
from medal.learners.checkpoint import fit_channels, read_weights, start_from
from medal.learners.protocol import Backbone
from medal.learners.supervised import Classifier


class Net(Backbone):
    def __init__(self, channels: int = 1, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, width, 3))
        self.features = width

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images).mean((2, 3))

    def aliases(self, name: str) -> list[str]:
        return ["trunk." + name.removeprefix("body.")]


def model(channels: int = 1, width: int = 4, labels: int = 2) -> Classifier:
    backbone = Net(channels, width)
    return Classifier(backbone, width, 0.0, nn.Linear(width, labels))


def backbone_state(channels: int = 1, prefix: str = "") -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    state = Net(channels).state_dict()
    return {
        prefix + k: torch.rand(v.shape, generator=generator) if v.is_floating_point() else torch.tensor(7)
        for k, v in state.items()
    }


# ---- reading


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_safetensors_and_torch_files_are_read(tmp_path: Path, suffix: str):
    path, state = tmp_path / f"w{suffix}", backbone_state()
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    found = read_weights(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[k], v) for k, v in state.items())


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_state_dict_inside_a_checkpoint_is_found(tmp_path: Path, key: str):
    torch.save({key: backbone_state(), "epoch": 7, "lr": 0.1}, tmp_path / "w.pt")
    assert read_weights(tmp_path / "w.pt").keys() == backbone_state().keys()


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("how", ["torch", "pickle", "nested"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, how: str):
    path, mark = tmp_path / "w.pt", tmp_path / "ran"
    if how == "torch":
        torch.save(Payload(mark), path)
    elif how == "nested":
        torch.save({"state_dict": backbone_state(), "hyper": Payload(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(ConfigError, match=r"w\.pt is no checkpoint of tensors \(\w+Error\)"):
        read_weights(path)
    assert not mark.exists()


def test_what_is_no_table_of_tensors_is_refused(tmp_path: Path):
    torch.save({"weight": torch.ones(2), "epoch": 3}, tmp_path / "mixed.pt")
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    for name in ("mixed.pt", "list.pt"):
        with pytest.raises(
            ConfigError, match=rf"{name} holds something else than named tensors; export its state dict"
        ):
            read_weights(tmp_path / name)
    (tmp_path / "w.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(ConfigError, match=r"w\.safetensors is no checkpoint of tensors"):
        read_weights(tmp_path / "w.safetensors")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(
        ConfigError, match=r"there is no file .*nothing\.pt; give a \.safetensors or a torch state dict"
    ):
        read_weights(tmp_path / "nothing.pt")


# ---- taking


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone.", "encoder."])
def test_tensors_are_found_behind_the_prefixes_of_wrappers(tmp_path: Path, prefix: str):
    save_file(backbone_state(prefix=prefix), tmp_path / "w.safetensors")
    target = model()
    head = target.head.state_dict()["weight"].clone()
    assert start_from(target, tmp_path / "w.safetensors") == len(backbone_state())
    for name, value in target.backbone.state_dict().items():
        assert torch.equal(value, backbone_state()[name])
    assert torch.equal(target.head.state_dict()["weight"], head)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_backbone_may_know_its_tensors_under_other_names(tmp_path: Path, prefix: str):
    state = {prefix + "trunk." + k.removeprefix("body."): v for k, v in backbone_state().items()}
    save_file(state, tmp_path / "w.safetensors")
    target = model()
    assert start_from(target, tmp_path / "w.safetensors") == len(state)
    assert torch.equal(target.backbone.state_dict()["body.2.weight"], backbone_state()["body.2.weight"])


def test_a_head_of_the_same_shape_is_taken_and_of_another_stays_new(tmp_path: Path):
    trained = model(labels=2)
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    same, other = model(labels=2), model(labels=5)
    assert start_from(same, tmp_path / "w.pt") == start_from(other, tmp_path / "w.pt") + 2
    assert torch.equal(same.head.state_dict()["weight"], trained.head.state_dict()["weight"])
    assert torch.equal(other.backbone.state_dict()["body.0.weight"], trained.backbone.state_dict()["body.0.weight"])


def test_colour_is_summed_for_one_channel(tmp_path: Path):
    save_file(backbone_state(channels=3), tmp_path / "w.safetensors")
    colour, grey = Net(3), model(channels=1)
    colour.load_state_dict(backbone_state(channels=3))
    start_from(grey, tmp_path / "w.safetensors")
    # a grey image shown in all three colours is seen as before
    images = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(grey.backbone.eval()(images), colour.eval()(images.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("weight", "like"),
    [((4, 3, 3, 3), (4, 3, 3, 3)), ((4, 3, 3, 3), (5, 1, 3, 3)), ((4, 3), (4, 1)), ((4, 2, 3, 3), (4, 1, 3, 3))],
)
def test_other_shapes_are_not_touched(weight: tuple[int, ...], like: tuple[int, ...]):
    assert fit_channels(torch.ones(weight), torch.ones(like)).shape == weight


def test_the_wrong_network_is_refused_with_counts(tmp_path: Path):
    save_file(backbone_state(), tmp_path / "w.safetensors")
    target = model(width=5)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    # of nine tensors, only the batch counter has the same shape
    with pytest.raises(ConfigError, match=r"w\.safetensors fits 1 of the backbone's 9 tensors; choose the network"):
        start_from(target, tmp_path / "w.safetensors")
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())


def test_half_precision_becomes_the_models_own(tmp_path: Path):
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in backbone_state().items()}, tmp_path / "w.safetensors"
    )
    target = model()
    start_from(target, tmp_path / "w.safetensors")
    assert target.backbone.state_dict()["body.0.weight"].dtype == torch.float32
