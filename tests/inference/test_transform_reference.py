"""Versions of refined images in the styles of given real images."""

from __future__ import annotations

import pytest
import torch

from synthreal.core.style_bank import StyleBank
from synthreal.data.encoding import to_unit
from synthreal.errors import UserError
from synthreal.inference.transform import Refine


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def versioned(run, seed=0, **options):
    return Refine.load(run, versions=True, generator=torch.Generator().manual_seed(seed), **options)


def photographs(*shape):
    """Real images of which each is darker than the one before."""
    real = torch.rand(shape, generator=torch.Generator().manual_seed(7))
    return real * torch.linspace(1, 0.2, shape[0])[:, None, None, None]


def test_each_image_takes_the_styles_of_its_reference(toy_run):
    x, real, plain = images(40, 1, 12, 16), photographs(40, 1, 30, 21), Refine.load(toy_run)
    y, refined, found = versioned(toy_run)(x, reference=real), plain(x), []
    evaluation = plain.about.config.evaluation
    styles = StyleBank.of(real, beta=evaluation.fda.beta)
    rows, blend = torch.arange(40), evaluation.histogram.blend
    for place in range(40):
        near = [(styles.adapt(refined, rows, v, blend=blend)[place] - y[place]).abs().max() for v in range(3)]
        assert min(near) < 1e-5
        found.append(near.index(min(near)))
    assert set(found) == {0, 1, 2}
    kept = (versioned(toy_run)(x) == refined).flatten(1).all(1)  # in styles of the run, the same versions are drawn
    assert kept.tolist() == [version == 0 for version in found]
    turned = versioned(toy_run)(x, reference=real.roll(1, 0))
    moved = (turned != y).flatten(1).any(1)
    assert moved.tolist() == [version > 0 for version in found]
    assert torch.equal(versioned(toy_run)(x[:0], reference=real[:0]), x[:0])


def test_one_reference_is_that_of_all_images(toy_run):
    x, real = images(20, 1, 12, 16), photographs(3, 1, 9, 50)[1]
    every = versioned(toy_run)(x, reference=real.expand(20, -1, -1, -1))
    for one in (real, real[None]):
        assert torch.equal(versioned(toy_run)(x, reference=one), every)
    single = versioned(toy_run, seed=1)(x[0], reference=real)
    assert torch.equal(single, versioned(toy_run, seed=1)(x[:1], None, real)[0])
    assert versioned(toy_run)(x, reference=torch.full((1, 1, 1), 0.5)).isfinite().all()


def test_p_selects_the_rows_of_references(toy_run):
    x, real = images(60, 1, 12, 16), photographs(60, 1, 12, 16)
    y = versioned(toy_run, p=0.5)(x, reference=real)
    same = (y == x).flatten(1).all(1)
    assert 15 < same.sum() < 45
    plain = Refine.load(toy_run)
    refined, styles = plain(x), StyleBank.of(real, beta=plain.about.config.evaluation.fda.beta)
    blend = plain.about.config.evaluation.histogram.blend
    wanted = torch.stack([styles.adapt(refined, torch.arange(60), version, blend=blend) for version in range(3)])
    assert (wanted - y).abs().amax((2, 3, 4)).amin(0)[~same].max() < 1e-5
    one = versioned(toy_run, p=0.5)(x, reference=real[0])
    assert torch.equal((one == x).flatten(1).all(1), same)


def test_references_have_the_dtypes_and_the_range_of_images(toy_run):
    x, real = images(20, 1, 12, 16), (255 * photographs(20, 1, 12, 16)).to(torch.uint8)
    y = versioned(toy_run)(x, reference=to_unit(real))
    assert torch.equal(versioned(toy_run)(x, reference=real), y)
    signed = versioned(toy_run, range=(-1, 1))(2 * x - 1, reference=2 * to_unit(real) - 1)
    torch.testing.assert_close((signed + 1) / 2, y, atol=1e-4, rtol=0)
    bright = versioned(toy_run)(x, reference=to_unit(real) + 0.4)
    assert 0 <= bright.min() and bright.max() <= 1
    learned, shown = x.clone().requires_grad_(), to_unit(real).requires_grad_()
    versioned(toy_run, grad=True)(learned, reference=shown).sum().backward()
    assert learned.grad is not None and shown.grad is None


def test_wrong_references_are_refused_in_one_line(toy_run):
    x, refine = images(4, 1, 12, 16), Refine.load(toy_run, versions=True)
    for wrong, named in (
        (images(3, 12, 16), r"\(1, H, W\) or .*given torch.float32 \(3, 12, 16\)"),
        (images(12, 16), r"given torch.float32 \(12, 16\)"),
        (images(4, 1, 0, 16), "1 px and more"),
        (images(2, 1, 12, 16), "one real image, or one for each of the 4 images, not 2"),
        (images(4, 1, 12, 16).long(), "given torch.int64"),
        (images(4, 1, 12, 16).numpy(), "given ndarray"),
        (images(4, 1, 12, 16).to("meta"), "images on meta"),
        (255 * images(4, 1, 12, 16), r"values from .* are not in \[0, 1\]"),
        (images(4, 1, 12, 16) * torch.nan, "NaN"),
    ):
        with pytest.raises(UserError, match=f"^reference: .*{named}") as error:
            refine(x, reference=wrong)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="each of the 1 images, not 4"):
        refine(x[0], reference=x)
    with pytest.raises(UserError, match="load the refiner with versions=True"):
        Refine.load(toy_run)(x, reference=x)


@pytest.mark.gpu
def test_references_on_a_gpu(toy_run):
    x, real = images(20, 1, 12, 16), photographs(20, 1, 30, 21)
    here = versioned(toy_run, device="cpu")(x, reference=real)
    there = versioned(toy_run, device="cuda")(x.cuda(), reference=real.cuda())
    torch.testing.assert_close(there.cpu(), here, atol=1e-3, rtol=0)
    with pytest.raises(UserError, match="reference: images on cpu"):
        versioned(toy_run, device="cuda")(x.cuda(), reference=real)
