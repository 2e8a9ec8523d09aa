"""The history against a Python list with the same random slots."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from synthreal.core.history import History

SHAPE = (1, 2, 3)


def numbered(first: int, n: int, device: torch.device | str = "cpu") -> Tensor:
    """Images of one value each, all different: 0/255, 1/255, ..."""
    values = torch.arange(first, first + n, device=device) % 256 / 255
    return values.view(n, 1, 1, 1).expand(n, *SHAPE).contiguous()


def values(images: Tensor) -> list[int]:
    """The numbers of :func:`numbered`; every image must be of one value."""
    flat = (images * 255).flatten(1).round().long()
    assert bool((flat == flat[:, :1]).all()), "pixels of different images are mixed"
    return flat[:, 0].tolist()


def contents(history: History) -> list[int]:
    stored = history.images[: len(history)].float()
    return values(stored / 255 if history.images.dtype == torch.uint8 else stored)


class ListModel:
    """The history as a Python list of images; ``slots`` gives those that the history is about to draw."""

    def __init__(self, size: int) -> None:
        self.size, self.images = size, []

    def slots(self, generator: torch.Generator) -> list[int]:
        return torch.randperm(len(self.images), generator=generator, device=generator.device).tolist()

    def draw(self, count: int, generator: torch.Generator) -> list:
        return [self.images[slot] for slot in self.slots(generator)[:count]]

    def push(self, images: list, generator: torch.Generator) -> None:
        images = images[: self.size]
        room = self.size - len(self.images)
        added, replacing = images[:room], images[room:]
        if replacing:
            for slot, image in zip(self.slots(generator), replacing, strict=False):
                self.images[slot] = image
        self.images += added


def twin(generator: torch.Generator) -> torch.Generator:
    copy = torch.Generator(generator.device)
    copy.set_state(generator.get_state())
    return copy


@pytest.mark.parametrize(("dtype", "size"), [("float16", 1), ("float32", 7), ("uint8", 20)])
def test_it_behaves_like_the_list_model(dtype, size, device, generator):
    history, model, choice = History(size, SHAPE, dtype=dtype, device=device), ListModel(size), random.Random(size)
    rounded = {"uint8": lambda x: (x * 255).round() / 255, "float16": lambda x: x.half().float()}
    for _ in range(40):
        images = torch.rand(choice.choice([1, 2, 3, 8, 25]), *SHAPE, generator=generator, device=device)
        copy = twin(generator)
        history.push(images, generator)
        model.push(list(rounded.get(dtype, lambda x: x)(images)), copy)
        assert torch.equal(generator.get_state(), copy.get_state())
        assert len(history) == len(model.images)
        count = choice.randint(0, len(history))
        drawn = history.draw(count, generator)
        expected = model.draw(count, copy)
        assert drawn.dtype == torch.float32
        assert drawn.shape == (count, *SHAPE)
        if count:
            torch.testing.assert_close(drawn, torch.stack(expected), rtol=0, atol=1e-7)


def test_it_fills_in_order_and_stays_full(device, generator):
    history = History(10, SHAPE, device=device)
    assert len(history) == 0
    for n in range(4):
        history.push(numbered(4 * n, 4, device), generator)
    assert len(history) == 10
    history = History(10, SHAPE, device=device)
    history.push(numbered(0, 4, device), generator)
    history.push(numbered(4, 4, device), generator)
    assert contents(history) == list(range(8))


def test_the_push_that_fills_it_stores_all_of_its_images(device, generator):
    history = History(10, SHAPE, device=device)
    history.push(numbered(0, 8, device), generator)
    history.push(numbered(100, 6, device), generator)
    stored = contents(history)
    assert len(stored) == 10
    assert set(stored) >= set(range(100, 106))
    assert len(set(stored) & set(range(8))) == 4  # 2 fill empty slots, 4 replace earlier images


def test_a_full_history_replaces_as_many_whole_images_as_are_pushed(device, generator):
    history = History(12, SHAPE, device=device)
    history.push(numbered(0, 12, device), generator)
    replaced = set()
    for n in range(30):
        before = contents(history)
        history.push(numbered(20 + 5 * n, 5, device), generator)
        after = contents(history)
        changed = [slot for slot in range(12) if before[slot] != after[slot]]
        assert sorted(after[slot] for slot in changed) == list(range(20 + 5 * n, 25 + 5 * n))
        replaced.update(changed)
    assert replaced == set(range(12))


def test_draws_are_random_and_without_repetition(device, generator):
    history = History(20, SHAPE, device=device)
    history.push(numbered(0, 20, device), generator)
    before = contents(history)
    draws = [values(history.draw(10, generator)) for _ in range(40)]
    assert all(len(set(draw)) == 10 for draw in draws)
    assert set().union(*draws) == set(range(20))
    assert len({tuple(sorted(draw)) for draw in draws}) > 30
    assert contents(history) == before
    share = sum(0 in draw for draw in draws) / len(draws)
    assert 0.2 < share < 0.8


def test_draws_return_pushed_images_only(device, generator):
    history = History(50, SHAPE, device=device)
    history.push(numbered(1, 4, device), generator)
    for _ in range(20):
        assert 0 not in values(history.draw(4, generator))  # the empty slots are black
    with pytest.raises(ValueError, match=r"4 images.*5"):
        history.draw(5, generator)


def test_a_push_larger_than_the_history(device, generator):
    history = History(3, SHAPE, device=device)
    history.push(numbered(0, 9, device), generator)
    assert contents(history) == [0, 1, 2]
    history.push(numbered(50, 9, device), generator)
    assert sorted(contents(history)) == [50, 51, 52]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_it_stores_copies_without_gradients(dtype, device, generator):
    history = History(4, SHAPE, dtype=dtype, device=device)
    weight = torch.tensor(0.5, device=device, requires_grad=True)
    images = torch.ones(2, *SHAPE, device=device) * weight
    history.push(images, generator)
    assert not history.images.requires_grad
    with torch.no_grad():
        images.zero_()
    assert float(history.draw(2, generator).mean()) == pytest.approx(0.5, abs=0.002)
    drawn = history.draw(1, generator)
    drawn.zero_()
    assert float(history.draw(2, generator).min()) > 0.4


def test_uint8_preserves_all_256_levels_and_rounds_other_values(device, generator):
    history = History(256, SHAPE, device=device)
    assert history.images.element_size() == 1
    history.push(numbered(0, 256, device), generator)
    assert contents(history) == list(range(256))
    history = History(3, (1, 1, 1), device=device)
    history.push(torch.tensor([-0.1, 0.4999, 1.1], device=device).view(3, 1, 1, 1), generator)
    assert history.images.flatten().tolist() == [0, 127, 255]


@pytest.mark.parametrize("pushed", [3, 8])
def test_a_restored_history_continues_identically(pushed, device, generator):
    history = History(6, SHAPE, device=device)
    history.push(numbered(10, pushed, device), generator)
    state = history.state_dict()
    assert state["images"].shape[0] == min(pushed, 6)  # empty slots are not saved
    assert state["images"].device.type == "cpu"
    other = History(6, SHAPE, device=device)
    other.push(numbered(90, 5, device), generator)
    other.load_state_dict(state)
    assert contents(other) == contents(history)
    copy = twin(generator)
    for one, stream in ((history, generator), (other, copy)):
        one.push(numbered(60, 4, device), stream)
    assert contents(other) == contents(history)
    assert torch.equal(other.draw(5, copy), history.draw(5, generator))
