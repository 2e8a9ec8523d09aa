"""The two updates of Algorithm 1 against plain autograd, and that each changes its own player only."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from synthreal.core.discriminator import LocalDiscriminator, conv, pool
from synthreal.core.features import Blur, ChannelMean, Gradients, Laplacian
from synthreal.core.game import Game, update_discriminator, update_refiner
from synthreal.core.history import History
from synthreal.core.refiner import Refiner, refine
from synthreal.device import set_memory_format
from synthreal.hooks.builtin import PAPER_GAZE

PAPER_HANDS = (conv(96, 7, 4), conv(64, 5, 2), pool(3, 2), conv(32, 3, 2), conv(32, 1))


class Recorder(nn.Module):
    """A network that records its inputs and outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.inputs, self.outputs = network, [], []

    def forward(self, image: Tensor) -> Tensor:
        self.inputs.append(image.detach().clone())
        out = self.network(image)
        self.outputs.append(out)
        return out


def record(game: Game) -> Game:
    game.refiner, game.discriminator = Recorder(game.refiner), Recorder(game.discriminator)
    return game


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def stepped(network: nn.Module, loss: Tensor, rate: float) -> list[Tensor]:
    """The parameters after a step of plain SGD."""
    parameters = list(network.parameters())
    slopes = torch.autograd.grad(loss, parameters)
    return [p.detach() - rate * slope for p, slope in zip(parameters, slopes, strict=True)]


def twin(generator: torch.Generator) -> torch.Generator:
    clone = torch.Generator(generator.device)
    clone.set_state(generator.get_state())
    return clone


@pytest.mark.parametrize(("adversarial", "noise"), [(True, 0), (True, 2), (False, 2)])
def test_a_refiner_update_is_a_step_on_equation_4(adversarial, noise, make_game, images):
    features = [(nn.Identity(), 0.5), (ChannelMean(), 2.0)]
    game = make_game(features=features, dtype=torch.float64, noise=noise)
    x, old, stream = images(4, dtype=torch.float64), copy.deepcopy(game.refiner), twin(game.generator)
    refined = refine(old, x, stream)
    fooling, change = softplus(game.discriminator(refined)).mean(), (refined - x).abs().mean()
    regularization = 0.5 * change + 2.0 * (refined.mean(1) - x.mean(1)).abs().mean()
    loss = fooling + 0.7 * regularization if adversarial else regularization
    expected = stepped(old, loss, 0.1)
    update = update_refiner(game, x, adversarial=adversarial)
    torch.testing.assert_close(weights(game.refiner), expected)
    assert not same(weights(game.refiner), weights(old))
    torch.testing.assert_close((update.regularization, update.change), (regularization.detach(), change.detach()))
    if adversarial:
        torch.testing.assert_close(update.adversarial, fooling.detach())
    else:
        assert update.adversarial is None
    assert not any(value.requires_grad for value in vars(update).values() if value is not None)
    assert torch.equal(game.generator.get_state(), stream.get_state())


@pytest.mark.parametrize(("stored", "noise"), [(None, 1), (0, 0), (3, 1), (4, 0), (20, 1)])
def test_a_discriminator_update_is_a_step_on_equation_2(stored, noise, make_game, images):
    game = make_game(dtype=torch.float64, noise=noise, history=None if stored is None else 20)
    x, y = images(8, dtype=torch.float64), images(8, dtype=torch.float64)
    if stored:
        game.history.push(images(stored), game.generator)
    old, history, stream = copy.deepcopy(game.discriminator), copy.deepcopy(game.history), twin(game.generator)
    with torch.no_grad():
        if stored is None or stored < 4:
            shown = refine(game.refiner, x, stream)
        else:
            fresh = refine(game.refiner, x[:4], stream)
            shown = torch.cat([fresh, history.draw(4, stream).double()])
    if history is not None:
        history.push(shown[:4], stream)
    refined, real = old(shown), old(y)
    loss = softplus(-refined).mean() + softplus(real).mean()
    expected = stepped(old, loss, 0.1)
    update = update_discriminator(game, x, y)
    torch.testing.assert_close(weights(game.discriminator), expected)
    assert not same(weights(game.discriminator), weights(old))
    torch.testing.assert_close(update.loss, loss.detach())
    assert update.accuracy_real.item() == pytest.approx((real < 0).double().mean().item())
    assert update.accuracy_refined.item() == pytest.approx((refined > 0).double().mean().item())
    assert not any(value.requires_grad for value in vars(update).values())
    if stored is not None:
        assert len(game.history) == len(history)
        assert torch.equal(game.history.images, history.images)
    assert torch.equal(game.generator.get_state(), stream.get_state())


def trace(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor | None]:
    """Copies of the weights, the gradients and the optimizer state of a player."""
    parameters = list(network.parameters())
    values = [*parameters, *(p.grad for p in parameters)]
    values += [value for state in optimizer.state.values() for value in state.values()]
    return [None if value is None else value.detach().clone() for value in values]


def unchanged(before: list[Tensor | None], after: list[Tensor | None]) -> bool:
    return all(
        (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))
        for a, b in zip(before, after, strict=True)
    )


@pytest.mark.parametrize("ema", [None, 0.9])
def test_each_update_changes_its_own_player_only(ema, make_game, images):
    """Exactly, even if an earlier update left gradients in the other player."""
    game = make_game(history=8, ema=ema, optimizer=torch.optim.Adam)
    r, d = (game.refiner, game.optimizer_refiner), (game.discriminator, game.optimizer_discriminator)
    for step in range(4):
        before_r, before_d = trace(*r), trace(*d)
        assert (step == 0) == (before_d[-1] is None)
        update_refiner(game, images(4), adversarial=step != 1)
        assert unchanged(before_d, trace(*d))
        assert not unchanged(before_r[: len(weights(r[0]))], weights(r[0]))
        before_r, average = trace(*r), weights(game.averaged())
        update_discriminator(game, images(4), images(4))
        assert unchanged(before_r, trace(*r))
        assert same(weights(game.averaged()), average)
        assert not unchanged(before_d[: len(weights(d[0]))], weights(d[0]))


def test_gradients_do_not_accumulate_between_updates(make_game, images):
    """The gradients of one update are not part of the next."""
    game = make_game(dtype=torch.float64)
    x, y = images(4, dtype=torch.float64), images(4, dtype=torch.float64)
    for _ in range(3):
        old = copy.deepcopy(game.discriminator)
        with torch.no_grad():
            shown = game.refiner(x)
        expected = stepped(old, softplus(-old(shown)).mean() + softplus(old(y)).mean(), 0.1)
        update_discriminator(game, x, y)
        torch.testing.assert_close(weights(game.discriminator), expected)
        old = copy.deepcopy(game.refiner)
        loss = softplus(game.discriminator(old(x))).mean() + 0.7 * (old(x) - x).abs().mean()
        expected = stepped(old, loss, 0.1)
        update_refiner(game, x, adversarial=True)
        torch.testing.assert_close(weights(game.refiner), expected)


def test_a_discriminator_batch_is_b_refined_and_b_real_and_half_is_recomputed(make_game, images):
    """While the history has fewer than b/2 images the whole refined batch is fresh; then R refines b/2 images."""
    game = record(make_game(history=40))
    r, d = game.refiner, game.discriminator
    game.history.push(images(3), game.generator)
    lengths = []
    for step in range(12):
        x, y, past = images(8), images(8), game.history.images[: len(game.history)].clone()
        r.inputs.clear(), r.outputs.clear(), d.inputs.clear()
        update_discriminator(game, x, y)
        assert [len(batch) for batch in r.inputs] == [8 if step == 0 else 4]
        torch.testing.assert_close(r.inputs[0], x[: len(r.inputs[0])])
        assert not r.outputs[0].requires_grad
        refined, real = torch.cat(d.inputs).chunk(2)
        assert (len(refined), len(real)) == (8, 8)
        assert torch.equal(real, y)
        assert torch.equal(refined[: len(r.outputs[0])], r.outputs[0])
        if step > 0:
            assert all(any(torch.equal(image, old) for old in past) for image in refined[4:])
        lengths.append(len(game.history))
        stored = game.history.images[: len(game.history)]
        assert all(any(torch.equal(image, other) for other in stored) for image in r.outputs[0][:4])
    assert lengths == [7, 11, 15, 19, 23, 27, 31, 35, 39, 40, 40, 40]


def test_without_a_history_all_refined_images_are_fresh(make_game, images):
    game = record(make_game())
    for _ in range(3):
        update_discriminator(game, images(8), images(8))
    assert [len(batch) for batch in game.refiner.inputs] == [8, 8, 8]
    refined = [game.discriminator.inputs[i] for i in (0, 2, 4)]
    assert all(torch.equal(a, b) for a, b in zip(refined, game.refiner.outputs, strict=True))


def test_small_and_odd_batches(make_game, images):
    for batch in (1, 2, 3, 5):
        game = record(make_game(history=6))
        for _ in range(6):
            update_discriminator(game, images(batch), images(batch))
        assert all(len(inputs) == batch for inputs in game.discriminator.inputs)
        assert len(game.refiner.inputs[-1]) == batch - batch // 2
        assert len(game.history) == min(6, 6 * (batch - batch // 2))


def test_pre_training_does_not_use_the_discriminator_and_approaches_the_identity(make_game, images):
    game = record(make_game(optimizer=torch.optim.Adam, rate=0.01))
    changes = [update_refiner(game, images(8), adversarial=False).change.item() for _ in range(60)]
    assert game.discriminator.inputs == []
    assert changes[-1] < 0.5 * changes[0]


def test_the_game_makes_refined_images_look_real(make_game, images):
    """Real images are darker: R learns to darken with a small lambda and not with a large one."""
    brightness = []
    for weight in (0.5, 100.0):
        game = make_game(weight=weight, optimizer=torch.optim.Adam, rate=0.015, history=16)
        for step in range(80):
            x, y = 0.6 + 0.3 * images(8), 0.1 + 0.3 * images(8)
            update_refiner(game, x, adversarial=step >= 40)
            if step >= 40:
                update_discriminator(game, x, y)
        brightness.append(game.refiner(0.6 + 0.3 * images(8)).mean().item())
    assert brightness[0] < 0.4
    assert brightness[1] > 0.7


def test_the_average_follows_the_weights(make_game, images):
    game = make_game(ema=0.8, dtype=torch.float64)
    expected: list[Tensor] = []
    for step in range(5):
        update_refiner(game, images(4, dtype=torch.float64), adversarial=True)
        now = weights(game.refiner)
        expected = now if step == 0 else [0.8 * a + 0.2 * b for a, b in zip(expected, now, strict=True)]
        torch.testing.assert_close(weights(game.averaged()), expected)
        assert game.average.n_averaged.item() == step + 1
    assert not same(expected, weights(game.refiner))
    assert game.averaged() is game.average.module


def test_the_average_copies_buffers_and_may_be_another_mean(make_game, images):
    class Gain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(0.9))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, image: Tensor) -> Tensor:
            self.calls += 1
            return self.gain * image

    game = make_game(refiner=Gain(), ema=0.5)
    plain = make_game(refiner=copy.deepcopy(game.refiner))
    plain.average = torch.optim.swa_utils.AveragedModel(plain.refiner)  # the equal-weight mean of SWA
    gains = []
    for _ in range(3):
        x = images(2)
        update_refiner(game, x, adversarial=True)
        update_refiner(plain, x, adversarial=True)
        gains.append(plain.refiner.gain.item())
    assert game.averaged().calls.item() == 3
    assert plain.averaged().gain.item() == pytest.approx(sum(gains) / 3)


def test_without_an_average_the_result_is_r_itself(make_game):
    game = make_game()
    assert game.averaged() is game.refiner


def test_the_same_seed_gives_the_same_game(make_game, images):
    batches = [(images(4), images(4)) for _ in range(5)]

    def train() -> list[Tensor]:
        game = make_game(noise=1, history=6, ema=0.9)
        for x, y in batches:
            update_refiner(game, x, adversarial=True)
            update_discriminator(game, x, y)
        return [*weights(game.refiner), *weights(game.discriminator), game.history.images]

    torch.testing.assert_close(train(), train(), rtol=0, atol=0)


def test_bfloat16_computes_approximately_the_same_step(make_game, images):
    x, y = images(8), images(8)
    games = [make_game(autocast=autocast, history=8) for autocast in (None, torch.bfloat16)]
    start = weights(games[0].refiner) + weights(games[0].discriminator)
    moves, losses = [], []
    for game in games:
        first = update_refiner(game, x, adversarial=True)
        second = update_discriminator(game, x, y)
        losses.append(torch.stack([first.adversarial, first.regularization, second.loss]))
        assert losses[-1].dtype == torch.float32
        end = weights(game.refiner) + weights(game.discriminator)
        assert all(value.dtype == torch.float32 for value in end)
        moves.append(torch.cat([(b - a).flatten() for a, b in zip(start, end, strict=True)]))
    torch.testing.assert_close(losses[0], losses[1], rtol=0.02, atol=0.01)
    assert torch.nn.functional.cosine_similarity(moves[0], moves[1], dim=0) > 0.99
    assert not torch.equal(moves[0], moves[1])


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_both_networks_compute_in_the_given_precision(autocast, make_game, images):
    game, dtypes = make_game(autocast=autocast, history=8), []
    for layer in (game.refiner.stem, game.discriminator.head):
        layer.register_forward_hook(lambda module, args, out: dtypes.append(out.dtype))
    update_refiner(game, images(8), adversarial=True)
    for _ in range(2):
        update_discriminator(game, images(8), images(8))
    assert dtypes == [autocast or torch.float32] * 8


@pytest.mark.parametrize(
    ("layers", "shape", "refiner", "rate", "converted", "ratio"),
    [
        (PAPER_GAZE, (1, 35, 55), {"width": 16}, 0.001, 0.126, 15.3),
        (PAPER_HANDS, (1, 224, 224), {"width": 2, "blocks": 1}, 0.0002, 0.0098, 1024),
    ],
    ids=["gaze", "hands"],
)
def test_a_step_on_means_is_the_paper_s_step_on_sums(
    layers, shape, refiner, rate, converted, ratio, make_game, images, device
):
    """The paper sums over patches and pixels and averages over the batch; rate and lambda are converted accordingly."""
    sums = 0.05  # the paper's lambda, on [-1, 1] pixels it would be half of it
    game = make_game(
        refiner=Refiner(1, **refiner), discriminator=LocalDiscriminator(1, layers), dtype=torch.float64, rate=converted
    )
    x, y = images(2, *shape, dtype=torch.float64), images(2, *shape, dtype=torch.float64)
    patches, pixels = game.discriminator(x)[0].numel(), x[0].numel()
    assert rate * patches == pytest.approx(converted)
    assert pixels / patches == pytest.approx(ratio, rel=2e-3)
    game.weight = sums * pixels / patches

    def total(values: Tensor) -> Tensor:
        return values.flatten(1).sum(1).mean()

    old = copy.deepcopy(game.refiner)
    loss = total(softplus(game.discriminator(old(x)))) + sums * total((old(x) - x).abs())
    expected = stepped(old, loss, rate)
    update_refiner(game, x, adversarial=True)
    torch.testing.assert_close(weights(game.refiner), expected, rtol=1e-9, atol=1e-12)
    old = copy.deepcopy(game.discriminator)
    refined = game.refiner(x).detach()
    expected = stepped(old, total(softplus(-old(refined))) + total(softplus(old(y))), rate)
    update_discriminator(game, x, y)
    torch.testing.assert_close(weights(game.discriminator), expected, rtol=1e-9, atol=1e-12)
    moved = torch.cat([(a - b).abs().flatten() for a, b in zip(weights(game.discriminator), weights(old), strict=True)])
    assert float(moved.max()) > 1e-5


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")  # warnings of the compiler
@pytest.mark.parametrize("compiled", [False, True])
def test_updates_do_not_synchronise_with_the_device(make_game, images, device, compiled):
    if device.type != "cuda":
        pytest.skip("needs a GPU")
    features = [(psi.to(device), 1.0) for psi in (nn.Identity(), Gradients(), ChannelMean(), Blur(1.5), Laplacian(3))]
    game = make_game(
        noise=1, ema=0.9, features=features, optimizer=torch.optim.Adam, autocast=torch.bfloat16, history=16
    )
    game.history = History(16, (1, 8, 11), device=device)
    for network in (game.refiner, game.discriminator):
        set_memory_format(network, "channels_last", compiled=compiled)
    batches = [(images(8), images(8)) for _ in range(6)]
    for x, y in batches[:2] * 2:  # the first steps load or compile kernels and create the state of the optimizers
        update_refiner(game, x, adversarial=True)
        update_discriminator(game, x, y)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for i, (x, y) in enumerate(batches[2:]):
            update_refiner(game, x, adversarial=i != 1)
            update_discriminator(game, x, y)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore")  # warnings of the compiler
@pytest.mark.parametrize(
    ("layout", "compiled", "padding"),
    [
        ("channels_last", False, "replicate"),
        ("channels_first", False, "zeros"),
        pytest.param("channels_last", True, "replicate", marks=pytest.mark.slow),
    ],
)
def test_memory_format_and_compilation_do_not_change_the_game(make_game, images, layout, compiled, padding):
    torch._dynamo.reset()
    refiner = Refiner(1, blocks=1, width=6, noise_channels=1, padding=padding)
    plain, converted = (make_game(refiner=copy.deepcopy(refiner), history=8) for _ in range(2))
    for network in (converted.refiner, converted.discriminator):
        set_memory_format(network, layout, compiled=compiled)
        assert (network._compiled_call_impl is not None) is compiled
    for _ in range(2):
        x, y = images(4), images(4)
        for game in (plain, converted):
            update_refiner(game, x, adversarial=True)
            update_discriminator(game, x, y)
    slack = 1e-5 if compiled else 1e-6
    torch.testing.assert_close(weights(converted.refiner), weights(plain.refiner), rtol=1e-4, atol=slack)
    torch.testing.assert_close(weights(converted.discriminator), weights(plain.discriminator), rtol=1e-4, atol=slack)
