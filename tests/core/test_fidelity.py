"""One test for each way in which public ports of SimGAN were found to differ from the paper (and a few more nearby).

The tenth of the list, a last partial batch that is dropped, concerns bulk refinement and is tested there.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from synthreal.core.discriminator import GlobalDiscriminator, LocalDiscriminator, conv
from synthreal.core.game import DiscriminatorUpdate, RefinerUpdate, update_discriminator, update_refiner
from synthreal.core.history import History
from synthreal.core.losses import refiner_adversarial, self_regularization
from synthreal.core.refiner import Refiner
from synthreal.hooks.builtin import PAPER_GAZE
from synthreal.hooks.resolve import configure
from synthreal.train import fit

SHAPE = (1, 8, 11)


class BrightnessLogits(nn.Module):
    """A discriminator: ``(B, C, H, W) -> (B, 1, 2, 2)`` logits that grow with brightness."""

    def __init__(self, gain: float = 1.0, threshold: float = 0.5) -> None:
        super().__init__()
        self.gain, self.threshold = nn.Parameter(torch.tensor(gain)), threshold

    def forward(self, image: Tensor) -> Tensor:
        return self.gain * (image.mean((1, 2, 3), keepdim=True) - self.threshold).expand(-1, 1, 2, 2)


class Shift(nn.Module):
    """A refiner that adds one number: ``(B, C, H, W) -> same``."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, image: Tensor) -> Tensor:
        return image + self.by


def grey(n: int, value: float, device: torch.device) -> Tensor:
    return torch.full((n, *SHAPE), value, device=device)


def test_bug_1_the_history_stores_what_is_pushed(make_game, images, device, generator):
    """The result of an append was dropped: 0 images after 50 pushes."""
    history = History(100, SHAPE, device=device)
    for n in range(50):
        history.push(images(2), generator)
        assert len(history) == min(100, 2 * (n + 1))
    assert float(history.draw(100, generator).amax((1, 2, 3)).min()) > 0.5  # no empty slot among them
    game = make_game(history=1000)
    for _ in range(50):
        update_discriminator(game, images(4), images(4))
    assert len(game.history) == 100


def test_bug_2_a_logit_is_the_difference_of_its_own_position_s_two_class_maps(images, device):
    """``(N, 2, H, W).view(N, -1, 2)`` pairs neighbouring pixels of one map."""
    network = LocalDiscriminator(1, PAPER_GAZE).to(device).double()
    image, heads = images(3, 1, 35, 55, dtype=torch.float64), []
    network.head.register_forward_hook(lambda module, args, out: heads.append(out.detach()))
    logits = network(image).detach()
    (maps,) = heads
    assert maps.shape == (3, 2, 9, 14)
    for n in range(3):
        for i in range(9):
            for j in range(14):
                real, refined = maps[n, :, i, j].tolist()
                assert logits[n, 0, i, j].item() == pytest.approx(refined - real, abs=1e-12)
    probability = torch.softmax(maps, dim=1)[:, 1:]
    torch.testing.assert_close(torch.sigmoid(logits), probability)
    torch.testing.assert_close(refiner_adversarial(logits), -torch.log(1 - probability).mean())


@pytest.mark.parametrize("batch", [8, 512])
def test_bug_3_lambda_does_not_depend_on_the_batch_size(batch, make_game, device):
    """Batch-summed L1 against a mean cross-entropy: a shift of 0.1 cost 0.154 / 0.616 / 2.46 / 9.86."""
    image = grey(batch, 0.5, device)
    assert self_regularization(image + 0.1, image, [(nn.Identity(), 1.0)]).item() == pytest.approx(0.1, rel=1e-5)
    game = make_game(refiner=Shift(0.1), discriminator=BrightnessLogits(gain=3.0, threshold=0.6), weight=2.0)
    update = update_refiner(game, image, adversarial=True)
    assert update.regularization.item() == pytest.approx(0.1, rel=1e-5)
    assert update.adversarial.item() == pytest.approx(math.log(2), rel=1e-5)
    slope = 3.0 * 0.5 + 2.0 * 1.0  # of softplus at 0 through D's gain, and of lambda |shift|
    assert game.refiner.by.item() == pytest.approx(0.1 - 0.1 * slope, rel=1e-4)


@pytest.mark.parametrize("history", [None, 16])
def test_bug_4_the_discriminator_s_update_leaves_no_gradient_in_the_refiner(history, make_game, images):
    game = make_game(history=history)
    for _ in range(3):
        update_discriminator(game, images(8), images(8))
    assert all(parameter.grad is None for parameter in game.refiner.parameters())
    assert all(parameter.grad is not None for parameter in game.discriminator.parameters())


def test_bug_4_the_refiner_s_update_leaves_no_gradient_in_the_discriminator(make_game, images):
    game = make_game()
    for _ in range(3):
        update_refiner(game, images(8), adversarial=True)
    assert all(parameter.grad is None for parameter in game.discriminator.parameters())
    assert all(parameter.grad is not None for parameter in game.refiner.parameters())


def test_bug_5_past_images_are_random_and_not_always_the_first_half_batch(make_game, images):
    game, shown = make_game(history=40), []
    game.discriminator.register_forward_pre_hook(lambda module, args: shown.append(args[0]))
    past = set()
    for step in range(40):
        shown.clear()
        update_discriminator(game, images(8), images(8))
        if step > 0:
            past.update(image.sum().item() for image in shown[0][4:])
    assert len(past) > 60  # of the 160 images pushed


def test_bug_5_whole_images_are_replaced_not_pixels(device, generator):
    history = History(10, SHAPE, dtype="float32", device=device)
    history.push(grey(10, 0.25, device), generator)
    history.push(grey(4, 0.75, device), generator)
    assert sorted(history.images.mean((1, 2, 3)).tolist()) == [0.25] * 6 + [0.75] * 4


@pytest.mark.parametrize("kind", ["local", "global"])
def test_bug_6_logits_carry_no_activation(kind, images, device):
    """ReLU or LeakyReLU on the last maps: a logit, or its class maps, could not go (far) below 0."""
    layers = (conv(6, 3, 2), conv(5, 3))
    network = LocalDiscriminator(1, layers) if kind == "local" else GlobalDiscriminator(1, *SHAPE[1:], layers)
    network = network.to(device)
    maps = []
    network.head.register_forward_hook(lambda module, args, out: maps.append(out.detach()))
    image = images(4)
    for sign in (1.0, -1.0):
        with torch.no_grad():
            network.head.bias.copy_(torch.tensor([0.0, sign * 50], device=device))
        logits = network(image).detach()
        torch.testing.assert_close(logits, torch.full_like(logits, sign * 50), rtol=0.1, atol=0)
        assert torch.equal(logits.flatten(), (maps[-1][:, 1] - maps[-1][:, 0]).flatten())
    with torch.no_grad():
        network.head.bias.zero_()
        network.head.weight.normal_()
    logits = network(images(64)).detach()
    assert float(maps[-1].min()) < 0 < float(maps[-1].max())
    assert float(logits.min()) < 0 < float(logits.max())


def test_bug_7_pre_training_has_no_adversarial_term(make_game, device):
    """D calls everything refined with slope; R must move towards x and nowhere else."""
    game = make_game(refiner=Shift(0.2), discriminator=BrightnessLogits(gain=1000.0), weight=5.0)
    update = update_refiner(game, grey(4, 0.5, device), adversarial=False)
    assert update.adversarial is None
    assert game.refiner.by.item() == pytest.approx(0.2 - 0.1 * 1.0)  # the slope of |shift|, without lambda


def test_bug_7_the_refiner_s_loss_has_its_adversarial_term(make_game, device):
    """Without self-regularization R still moves, towards what D calls real."""
    game = make_game(refiner=Shift(0.0), discriminator=BrightnessLogits(gain=4.0), weight=0.0)
    update = update_refiner(game, grey(4, 0.5, device), adversarial=True)
    assert update.adversarial.item() == pytest.approx(math.log(2))
    assert game.refiner.by.item() == pytest.approx(-0.1 * 0.5 * 4.0)


@pytest.mark.parametrize(("k_g", "k_d"), [(2, 1), (2, 3)])
def test_bug_8_a_step_makes_k_g_and_k_d_updates_in_the_paper_s_order(k_g, k_d, toy, tmp_path, monkeypatch):
    calls = []

    def refiner(game, simulated, *, adversarial):
        calls.append("R" if adversarial else "pre")
        assert len(simulated) == 4
        return RefinerUpdate(torch.zeros(()) if adversarial else None, torch.zeros(()), torch.zeros(()))

    def discriminator(game, simulated, real):
        calls.append("D")
        assert len(simulated) == len(real) == 4
        return DiscriminatorUpdate(*torch.zeros(3))

    monkeypatch.setattr(fit, "update_refiner", refiner)
    monkeypatch.setattr(fit, "update_discriminator", discriminator)
    schedule = {"refiner_steps": 3, "discriminator_steps": 2, "steps": 4, "batch": 4}
    schedule |= {"refiner_updates": k_g, "discriminator_updates": k_d}
    data = {"simulated": {"count": 8}, "real": {"count": 8}}
    config = configure(toy, {"schedule": schedule, "data": data}, recipe="toy")
    for _ in fit.steps(config, toy, tmp_path / "run"):
        pass
    assert calls == ["pre"] * 3 + ["D"] * 2 + (["R"] * k_g + ["D"] * k_d) * 4


def test_bug_8_the_discriminator_s_loss_is_the_sum_of_its_two_halves(make_game, device):
    """It is not their mean: the loss of an uninformed D is 2 log 2."""
    game = make_game(refiner=Shift(0.0), discriminator=BrightnessLogits(gain=0.0))
    update = update_discriminator(game, grey(4, 0.5, device), grey(4, 0.5, device))
    assert update.loss.item() == pytest.approx(2 * math.log(2))
    game = make_game(refiner=Shift(0.0), discriminator=BrightnessLogits(gain=1.0))
    update = update_discriminator(game, grey(4, 0.7, device), grey(4, 0.9, device))
    assert update.loss.item() == pytest.approx(math.log1p(math.exp(-0.2)) + math.log1p(math.exp(0.4)))


def test_bug_8_each_accuracy_is_of_its_own_kind(make_game, device):
    """This D takes bright images for refined ones."""
    for refined, real, *accuracies in ((0.9, 0.1, 1, 1), (0.1, 0.9, 0, 0), (0.9, 0.8, 1, 0), (0.2, 0.1, 0, 1)):
        game = make_game(refiner=Shift(0.0), discriminator=BrightnessLogits())
        update = update_discriminator(game, grey(4, refined, device), grey(4, real, device))
        assert [update.accuracy_refined.item(), update.accuracy_real.item()] == accuracies


def test_bug_8_accuracies_are_shares_of_patches(make_game, device):
    game = make_game(refiner=Shift(0.0), discriminator=BrightnessLogits())
    simulated = torch.cat([grey(1, 0.9, device), grey(3, 0.1, device)])
    real = torch.cat([grey(3, 0.9, device), grey(1, 0.1, device)])
    update = update_discriminator(game, simulated, real)
    assert update.accuracy_refined.item() == update.accuracy_real.item() == 0.25


def test_bug_9_images_are_0_to_1_outside_and_minus_1_to_1_inside_both_players(make_game, device):
    """[0, 1] inputs against a tanh output, or two ranges for the two kinds: all three must agree."""
    game, inside = make_game(history=8), []
    game.refiner.stem.register_forward_pre_hook(lambda module, args: inside.append(args[0].detach()))
    game.discriminator.trunk.register_forward_pre_hook(lambda module, args: inside.append(args[0].detach()))
    for value in (0.0, 0.5, 1.0):
        inside.clear()
        update_discriminator(game, grey(4, value, device), grey(4, value, device))
        to_refiner, to_discriminator, to_discriminator_real = inside
        assert to_refiner.unique().tolist() == to_discriminator_real.unique().tolist() == [2 * value - 1]
        assert -1 <= float(to_discriminator.min()) <= float(to_discriminator.max()) <= 1
    stored = game.history.images[: len(game.history)]
    assert 0 <= float(stored.min()) <= float(stored.max()) <= 1


def test_bug_9_the_refiner_can_learn_the_identity(make_game, images):
    """Dark images stay dark and bright ones bright after pre-training: the output covers the input's range."""
    game = make_game(refiner=Refiner(1, blocks=1, width=8), optimizer=torch.optim.Adam, rate=0.01)
    for _ in range(150):
        update_refiner(game, images(16), adversarial=False)
    x = images(16)
    refined = game.refiner(x).detach()
    dark, bright = x < 0.15, x > 0.85
    assert float(refined[dark].mean()) < 0.2
    assert float(refined[bright].mean()) > 0.8
