import hashlib
import struct
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

import medal.storage
from medal.errors import StudyError
from medal.weights import load_weights, save_weights, weights_hash

STATES = {
    "many types": {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "half": torch.randn(3, generator=torch.Generator().manual_seed(0)).bfloat16(),
        "mask": torch.tensor([True, False]),
        "steps": torch.tensor(7),
        "double": torch.full((2, 2), 1 / 3, dtype=torch.float64),
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
    },
    "nothing": {},
    "one": {"weight": torch.arange(6.0).reshape(2, 3)},
}


@pytest.mark.parametrize("name", STATES)
def test_round_trip_bit_for_bit(tmp_path, name):
    state = STATES[name]
    digest = save_weights(tmp_path / "w.safetensors", state)
    back = load_weights(tmp_path / "w.safetensors", digest)
    assert back.keys() == state.keys()
    for key, value in state.items():
        assert back[key].dtype == value.dtype
        assert back[key].shape == value.shape
        assert torch.equal(back[key].reshape(-1).view(torch.uint8), value.reshape(-1).view(torch.uint8))
    assert weights_hash(back) == weights_hash(state) == digest


def test_hash_by_hand():
    state = {"b": torch.tensor([1.0, -2.0]), "a": torch.tensor(3, dtype=torch.int16)}
    text = (
        b'["a", "torch.int16", []]\n'
        + struct.pack("<h", 3)
        + b'["b", "torch.float32", [2]]\n'
        + struct.pack("<ff", 1, -2)
    )
    assert weights_hash(state) == hashlib.sha256(text).hexdigest()


def test_hash_leaves_out_layout_order_and_gradients():
    a = torch.arange(12.0).reshape(3, 4)
    plain = weights_hash({"a": a, "b": a + 1})
    assert weights_hash({"b": a + 1, "a": a}) == plain
    assert weights_hash({"a": a.t().contiguous().t(), "b": (a + 1).requires_grad_()}) == plain
    assert weights_hash({"a": torch.arange(24.0).reshape(3, 8)[:, ::2] / 2, "b": a + 1}) == plain


def test_hash_sees_name_type_shape_and_every_number():
    a = torch.arange(4.0)
    variants = [
        {"a": a},
        {"b": a},
        {"a": a.reshape(2, 2)},
        {"a": a.double()},
        {"a": a.view(torch.int32)},
        {"a": torch.nextafter(a, a + 1)},
        {"a": a, "b": torch.zeros(0)},
        {"a": a[:2], "b": a[2:]},
    ]
    assert len({weights_hash(v) for v in variants}) == len(variants)


def test_metadata_and_order_in_the_file_do_not_count(tmp_path):
    state = {"a": torch.ones(2), "b": torch.zeros(3)}
    digest = save_weights(tmp_path / "ours.safetensors", state)
    save_file({"b": state["b"], "a": state["a"]}, tmp_path / "theirs.safetensors", metadata={"format": "pt", "by": "x"})
    assert (tmp_path / "ours.safetensors").read_bytes() != (tmp_path / "theirs.safetensors").read_bytes()
    assert load_weights(tmp_path / "theirs.safetensors", digest).keys() == state.keys()


def test_others_can_read_the_file(tmp_path):
    save_weights(tmp_path / "w.safetensors", {"a": torch.ones(2)})
    assert torch.equal(load_file(tmp_path / "w.safetensors")["a"], torch.ones(2))


def test_the_same_state_gives_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        save_weights(tmp_path / name, {"b": torch.ones(2), "a": torch.zeros(3)})
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_tied_and_sliced_weights_are_stored_as_tensors_of_their_own(tmp_path):
    base = torch.arange(6.0)
    digest = save_weights(
        tmp_path / "w", {"tied": base, "also": base, "row": base.reshape(2, 3)[1], "t": base.reshape(2, 3).t()}
    )
    back = load_weights(tmp_path / "w", digest)
    back["tied"].add_(1)
    assert torch.equal(back["also"], base)
    assert torch.equal(back["t"], base.reshape(2, 3).t())


def test_loaded_weights_can_be_trained_on(tmp_path):
    layer = torch.nn.Linear(2, 2)
    digest = save_weights(tmp_path / "w", layer.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = load_weights(tmp_path / "w", digest)
        back["weight"].mul_(2)
    layer.load_state_dict(load_weights(tmp_path / "w"))


def test_saving_changes_nothing():
    value = torch.ones(2, requires_grad=True)
    weights_hash({"a": value})
    assert value.requires_grad
    assert torch.equal(value, torch.ones(2))


def test_what_is_no_tensor_is_refused(tmp_path):
    with pytest.raises(StudyError, match="weight 'extra' is a dict; expected a tensor: leave it out"):
        save_weights(tmp_path / "w", {"a": torch.ones(1), "extra": {}})  # type: ignore[dict-item]
    assert not (tmp_path / "w").exists()


def test_any_flipped_byte_is_found(tmp_path):
    digest = save_weights(tmp_path / "w", {"a": torch.arange(8.0), "b": torch.ones(1)})
    clean = (tmp_path / "w").read_bytes()
    for i in range(len(clean)):
        damaged = bytearray(clean)
        damaged[i] ^= 1
        (tmp_path / "w").write_bytes(damaged)
        try:
            state = load_weights(tmp_path / "w", digest)
        except StudyError:
            continue
        # padding of the header may change; what it holds may not
        assert weights_hash(state) == digest


@pytest.mark.parametrize("length", [0, 7, 8, 50, -1])
def test_a_cut_off_file_is_damaged(tmp_path, length):
    save_weights(tmp_path / "w", {"a": torch.arange(8.0)})
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:length])
    with pytest.raises(StudyError, match=r"is damaged .*; expected a safetensors file"):
        load_weights(tmp_path / "w")


def test_a_pickle_is_not_read(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "w")
    with pytest.raises(StudyError, match="is damaged"):
        load_weights(tmp_path / "w")


def test_other_weights_are_refused_with_both_hashes(tmp_path):
    found = save_weights(tmp_path / "w", {"a": torch.ones(2)})
    expected = weights_hash({"a": torch.zeros(2)})
    with pytest.raises(StudyError, match=f"holds weights with hash {found[:12]}; expected {expected[:12]}"):
        load_weights(tmp_path / "w", expected)


def test_missing_file(tmp_path):
    with pytest.raises(StudyError, match="is missing; expected the weights"):
        load_weights(tmp_path / "w")


def test_an_interrupted_write_keeps_the_earlier_weights(tmp_path, monkeypatch):
    digest = save_weights(tmp_path / "w", {"a": torch.ones(2)})

    def die(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(medal.storage.os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            save_weights(tmp_path / "w", {"a": torch.zeros(2)})
    assert torch.equal(load_weights(tmp_path / "w", digest)["a"], torch.ones(2))
