from __future__ import annotations

import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from toy import VectorSource, planted

from medal.contracts import check_learner
from medal.errors import MissingOutput
from medal.learners import Beta, MCDropout, Parts, Perceptron, Sigmoid, Supervised
from medal.learners.protocol import Backbone
from medal.learners.saliency import class_activation_maps, class_scores, has_maps
from medal.pool import Annotations, Pool
from medal.seeding import Seed
from medal.split import Split
from medal.torchvision_ops import prepare_torchvision
from medal.units import Units


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Averaging(Backbone):
    """Convolutions, rectification as a function, global average pooling: what class activation maps are defined for."""

    def __init__(self, dims: int = 2) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.body = nn.Sequential(conv(1, 4, 3, 2, 1), nn.ReLU(inplace=True), conv(4, 6, 3, 2, 1))
        self.features = 6

    def maps(self, images: Tensor) -> Tensor:
        return torch.relu(self.body((images - 0.5) / 0.25))

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).flatten(2).mean(2)


class Quarters(Averaging):
    """The read-out of the project's small net: a maximum in each quarter of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout2d(0.3), nn.AdaptiveMaxPool2d(2))

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.body(images)).flatten(1)


@pytest.mark.parametrize("dims", [2, 3])
def test_average_pooling_and_a_linear_layer_give_the_exact_class_activation_map(dims: int):
    net, weight, images = Averaging(dims).eval(), seeded(5, 6, seed=2), seeded(3, 1, *[16] * dims)
    made = class_activation_maps(net, lambda f: f @ weight.T + 7, images)
    with torch.no_grad():
        expected = torch.einsum("lk,rk...->rl...", weight, net.maps(images))
    assert made.shape == (3, 5, *[4] * dims)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, expected)
    # its mean is the logit without the bias
    torch.testing.assert_close(made.flatten(2).mean(2), net(images).detach() @ weight.T)


def test_agrees_with_the_gradcam_of_monai():
    prepare_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.visualize.class_activation_maps import GradCAM

    weight, images = seeded(3, 24, seed=2), seeded(2, 1, 32, 32)
    net = Quarters().eval()
    whole = nn.Sequential(net, nn.Linear(24, 3))
    whole[1].weight.data = weight
    made = class_activation_maps(net, lambda f: f @ weight.T, images)
    peer = GradCAM(nn_module=whole, target_layers="0.last.1")
    for label in range(3):
        theirs = peer.compute_map(images, class_idx=label)  # the mean form, rectified
        torch.testing.assert_close(made[:, label : label + 1].clamp_min(0) / 64, theirs)
    assert (made < 0).any(), "maps are signed"


def test_a_network_may_write_into_its_map():
    class Doubling(Averaging):
        def forward(self, images: Tensor) -> Tensor:
            flat = self.maps(images).flatten(2)
            flat *= 2
            return flat.mean(2)

    images, weight = seeded(2, 1, 16, 16), seeded(3, 6, seed=2)
    made = class_activation_maps(Doubling().eval(), lambda f: f @ weight.T, images)
    torch.testing.assert_close(made, 2 * class_activation_maps(Averaging().eval(), lambda f: f @ weight.T, images))


def test_several_blocks_give_the_same_maps():
    net, images = Quarters().eval(), seeded(7, 1, 32, 32)

    def made(block: Tensor) -> Tensor:
        return class_activation_maps(net, lambda f: f[:, :4].tanh(), block)

    torch.testing.assert_close(torch.cat([made(images[:2]), made(images[2:])]), made(images))
    order = torch.tensor([3, 0, 6, 1, 2, 5, 4])
    torch.testing.assert_close(made(images[order]), made(images)[order])


def test_the_state_of_torch_and_of_the_network_is_left_alone():
    net, images = Averaging().eval(), seeded(2, 1, 16, 16)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for mode in (True, False):
        with torch.set_grad_enabled(mode):
            made = class_activation_maps(net, lambda f: f, images)
            assert torch.is_grad_enabled() is mode
            assert not made.requires_grad
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_gradients_are_recorded_from_the_map_on_alone():
    net, images = Averaging().eval(), seeded(2, 1, 16, 16)
    kept: list[tuple[int, ...]] = []

    def pack(saved: Tensor) -> Tensor:
        kept.append(tuple(saved.shape))
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        class_activation_maps(net, lambda f: f.square(), images)
    assert kept
    assert all(len(shape) < 4 for shape in kept), "no activation of the body is kept"


def test_the_score_of_evidence_is_for_minus_against():
    raw = seeded(4, 6)
    alpha, beta = Beta().concentration(raw).unbind(-1)
    torch.testing.assert_close(class_scores(Beta(), raw), alpha - beta)
    torch.testing.assert_close(class_scores(Sigmoid(), raw), raw)


def test_a_beta_map_is_the_maps_of_its_two_evidences_weighted_by_the_activation():
    net, weight, images = Averaging().eval(), seeded(2, 6, seed=2), seeded(3, 1, 16, 16)
    made = class_activation_maps(net, lambda f: class_scores(Beta(), f @ weight.T), images)
    with torch.no_grad():
        raw, maps = net(images) @ weight.T, net.maps(images)
        slope = torch.sigmoid(raw) * torch.tensor([1.0, -1.0])  # derivative of softplus, for and against
        expected = torch.einsum("rd,dk,rkhw->rhw", slope, weight, maps)
    torch.testing.assert_close(made[:, 0], expected)


def test_a_saturated_probability_still_has_a_map():
    net, images = Averaging().eval(), seeded(1, 1, 16, 16)
    made = class_activation_maps(net, lambda f: class_scores(Sigmoid(), 1e4 * f), images)
    assert torch.isfinite(made).all()
    assert float(made.abs().max()) > 0


def test_a_dead_score_has_a_map_of_zeros():
    made = class_activation_maps(Averaging().eval(), lambda f: 0 * f, seeded(2, 1, 16, 16))
    assert torch.equal(made, torch.zeros(2, 6, 4, 4))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Flatten(), "Flatten makes no feature map of .1, 16, 16."),
        (nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), "Sequential makes no feature map"),
    ],
)
def test_networks_without_maps_are_refused(net: nn.Module, message: str):
    with pytest.raises(MissingOutput, match=message):
        class_activation_maps(net, lambda f: f, seeded(2, 1, 16, 16))


def test_scores_that_do_not_depend_on_the_map_are_refused():
    class Aside(Averaging):
        def forward(self, images: Tensor) -> Tensor:
            super().forward(images)
            return images.flatten(1)[:, :3]

    with pytest.raises(MissingOutput, match="Aside: its features do not depend on its last feature map"):
        class_activation_maps(Aside().eval(), lambda f: f, seeded(2, 1, 16, 16))


def test_tables_of_features_have_no_places():
    assert has_maps((1, 32, 32))
    assert has_maps((1, 32, 32, 32))
    assert not has_maps((128,))
    assert not has_maps((4, 7))


# ---- as an output of the learner


@dataclass(frozen=True)
class AveragingNetwork:
    def build(self, channels: int) -> Backbone:
        return Averaging()


def images_of(rows: int) -> VectorSource:
    ids = tuple(f"i{n:03d}" for n in range(rows))
    pixels = torch.rand(rows, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return VectorSource(pixels, ("a", "b"), ids, ids)


def trained(source: VectorSource, parts: Parts, seed: int = 0) -> Supervised:
    learner = Supervised(source, AveragingNetwork(), parts, steps=6, batch=8, predict_batch=5)
    split = Split(source.ids, source.ids, ("pool",) * len(source.ids))
    pool = Pool(Units("image", source.ids, source.ids), source.labels, split)
    target = torch.tensor([[float(i % 2), float(i % 3 == 0)] for i in range(10)])
    pool.answer(Annotations(source.ids[:10], target, "image", (1.0,) * 10, "test"))
    learner.fit(pool, pool.table(), Seed(seed))
    return learner


@pytest.mark.parametrize("head", [Sigmoid(), Beta()])
def test_a_learner_on_images_offers_maps_of_what_it_says(head: Sigmoid | Beta):
    source = images_of(14)
    learner = trained(source, Parts(head))
    rows = torch.tensor([12, 3, 13])
    found = learner.predict().get("saliency", rows)
    assert found.shape == (3, 2, 4, 4)
    read = learner._reading()
    expected = class_activation_maps(
        learner.model.backbone, lambda f: class_scores(head, read(learner.model.head(f))), source.images(rows)
    )
    torch.testing.assert_close(found, expected)
    if isinstance(head, Sigmoid):
        # the maps' mean is the logit without what does not depend on the image
        logits = torch.logit(learner.predict().get("marginals", rows)[:, 0])
        rest = logits - found.flatten(2).mean(2)
        torch.testing.assert_close(rest, rest[:1].expand(3, 2), atol=1e-4, rtol=1e-4)


def test_the_learner_keeps_its_contract_with_maps():
    source = images_of(14)
    check_learner(Supervised(source, AveragingNetwork(), steps=4, batch=8, predict_batch=5), source)


def test_several_networks_give_the_mean_of_their_maps():
    source, rows = images_of(14), torch.arange(4)
    one, two = trained(source, Parts()), trained(source, Parts(), seed=7)
    maps = [learner.predict().get("saliency", rows) for learner in (one, two)]
    assert not torch.equal(*maps)
    one._networks = (one.model, two.model)
    torch.testing.assert_close(one.predict().get("saliency", rows), torch.stack(maps).mean(0))


def test_tables_of_features_offer_no_maps_and_the_advice_says_what_does():
    source, _ = planted(20, seed=0)
    learner = Supervised(source, Perceptron(8, 0.2), steps=2, batch=8)
    check_learner(learner, source)
    with pytest.raises(MissingOutput, match=r"SaliencyKurtosis needs 'saliency'.* frozen features have no map"):
        learner.predict().resolve({"saliency"}, "SaliencyKurtosis")


def test_asking_for_maps_alone_computes_nothing_else():
    source = images_of(14)
    outputs = trained(source, Parts(Sigmoid(), MCDropout(3))).predict()
    (chunk,) = outputs.chunks(frozenset({"saliency"}), torch.arange(3))
    assert set(chunk.data) == {"saliency"}
