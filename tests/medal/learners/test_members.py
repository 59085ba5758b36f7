"""MC dropout: draws differ, everything else stays in evaluation mode, and a member is the same network for all rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medal.errors import ConfigError
from medal.learners.heads import Beta, Sigmoid
from medal.learners.members import MCDropout, Mixture, dropout_only
from medal.seeding import Seed


def network(p: float = 0.5) -> nn.Sequential:
    with Seed(0).globally():
        return nn.Sequential(
            nn.Conv2d(1, 6, 3),
            nn.BatchNorm2d(6),
            nn.Dropout2d(p),
            nn.Flatten(),
            nn.Dropout(p),
            nn.Linear(6 * 36, 3),
        )


def images(rows: int = 5) -> torch.Tensor:
    return torch.rand(rows, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_draws_have_members_on_the_second_axis_and_differ():
    draws = MCDropout(4).draws(network(), images(), Seed(0))
    assert draws.shape == (5, 4, 3)
    assert len({tuple(d.flatten().tolist()) for d in draws.unbind(1)}) == 4


def test_same_seed_same_draws_other_seed_other_draws():
    model = network()
    first, again, other = (MCDropout(3).draws(model, images(), Seed(s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_more_members_keep_those_before():
    few, many = (MCDropout(n).draws(network(), images(), Seed(0)) for n in (2, 5))
    assert torch.equal(few, many[:, :2])


def test_a_rows_draws_do_not_depend_on_its_block():
    """Member m is one network: rows that are equal get equal draws, alone or among others."""
    model, rows = network(), images()
    whole = MCDropout(6).draws(model, rows, Seed(0))
    for i in range(5):
        torch.testing.assert_close(MCDropout(6).draws(model, rows[i : i + 1], Seed(0))[0], whole[i], rtol=0, atol=1e-6)
    twins = MCDropout(6).draws(model, rows[[2, 2, 2]], Seed(0))
    torch.testing.assert_close(twins, whole[[2, 2, 2]], rtol=0, atol=1e-6)


def test_batch_normalisation_neither_learns_nor_uses_the_batch():
    model = network().train()
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    before = {k: v.clone() for k, v in model.state_dict().items()}
    MCDropout(3).draws(model, 100 + images(), Seed(0))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    seen: list[bool] = []
    handle = norm.register_forward_hook(lambda module, *_: seen.append(module.training))
    with dropout_only(model, Seed(0)):
        model(images())
    handle.remove()
    assert seen == [False]


@pytest.mark.parametrize("training", [True, False])
def test_modes_and_hooks_are_put_back(training: bool):
    model = network().train(training)
    model[1].eval()
    modes = [m.training for m in model.modules()]
    MCDropout(2).draws(model, images(), Seed(0))
    assert [m.training for m in model.modules()] == modes
    model.eval()
    assert torch.equal(model(images()), model(images()))


def test_modes_and_hooks_are_put_back_after_an_error():
    model = network().train()
    with pytest.raises(ZeroDivisionError), dropout_only(model, Seed(0)):
        raise ZeroDivisionError
    assert all(m.training for m in model.modules())
    assert not any(m._forward_hooks for m in model.modules())


def test_masks_drop_the_stated_share_and_keep_the_mean():
    model = nn.Sequential(nn.Dropout(0.3))
    ones = torch.ones(1, 20_000)
    draws = MCDropout(20).draws(model, ones, Seed(0))
    kept = draws > 0
    # four standard deviations of a share over 400,000 numbers
    assert float(kept.float().mean()) == pytest.approx(0.7, abs=4 * (0.21 / 4e5) ** 0.5)
    assert torch.allclose(draws[kept], torch.tensor(1 / 0.7))
    assert float(draws.mean()) == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("layer", [nn.Dropout1d(0.5), nn.Dropout2d(0.5), nn.Dropout3d(0.5)])
def test_channel_dropout_drops_whole_channels(layer: nn.Module):
    space = {nn.Dropout1d: (7,), nn.Dropout2d: (4, 5), nn.Dropout3d: (2, 3, 4)}[type(layer)]
    draws = MCDropout(3).draws(nn.Sequential(layer), torch.ones(2, 40, *space), Seed(0)).flatten(3)
    assert torch.equal(draws.amin(-1), draws.amax(-1))
    assert {0.0, 2.0} == set(draws.unique().tolist())


@pytest.mark.parametrize("again", [True, False])
def test_each_layer_and_each_call_has_a_mask_of_its_own(again: bool):
    first = nn.Dropout(0.5)
    model = nn.Sequential(first, first if again else nn.Dropout(0.5))
    draws = MCDropout(2).draws(model, torch.ones(1, 4000), Seed(0))
    # two independent masks in a row keep a quarter
    assert float((draws > 0).float().mean()) == pytest.approx(0.25, abs=0.03)


def test_the_global_state_is_neither_read_nor_moved():
    model = network()
    torch.manual_seed(0)
    first = MCDropout(3).draws(model, images(), Seed(0))
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    assert torch.equal(MCDropout(3).draws(model, images(), Seed(0)), first)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Dropout(0.0), nn.Linear(2, 2))])
def test_without_dropout_there_is_nothing_to_draw(model: nn.Module):
    with pytest.raises(ConfigError, match=r"no dropout layer with p > 0; set `learner\.dropout=0\.2`"):
        MCDropout(2).draws(model, torch.ones(1, 2), Seed(0))


def test_one_member_cannot_disagree():
    with pytest.raises(ConfigError, match=r"MCDropout\.count: found 1, expected at least 2"):
        MCDropout(1)


# ---- several networks


def test_a_mixture_scores_the_mean_probability():
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(6, 3, 2, generator=generator, dtype=torch.float64)
    y = torch.tensor([[1.0, 0.0], [0.0, float("nan")], [1.0, 1.0], [0.0, 0.0], [-1.0, 1.0], [1.0, 0.0]])
    found = Mixture(Sigmoid()).nll(raw, y)
    p = torch.sigmoid(raw).mean(1)
    expected = -torch.where(y == 1, p.log(), torch.log1p(-p)).where(y >= 0, 0.0)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(Mixture(Sigmoid()).nll(raw[:, :1], y), Sigmoid().nll(raw[:, 0], y))


def test_a_mixture_tempers_every_network():
    raw = torch.randn(4, 2, 6, generator=torch.Generator().manual_seed(0))
    temperature = torch.tensor([2.0, 1.0, 0.5])
    found = Mixture(Beta()).temper(raw, temperature)
    torch.testing.assert_close(found[:, 1], Beta().temper(raw[:, 1], temperature))
