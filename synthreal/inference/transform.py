"""``Refine``: the trained refiner as a transform for any training loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from synthreal.core.noise import indexed_noise
from synthreal.core.refiner import refine
from synthreal.core.style_bank import VERSION_COUNT, StyleBank
from synthreal.data.seed import derive_seed
from synthreal.device import resolve_micro_batch
from synthreal.errors import UserError
from synthreal.inference.pretrained import Pretrained, missing_styles
from synthreal.inference.sharing import SharingMixin
from synthreal.inference.transform_input import check_device, check_images, check_noise, check_reference
from synthreal.inference.value_range import ValueRange, check_probability
from synthreal.inference.workers import pack_generator, unpack_generator


class Refine(SharingMixin, nn.Module):
    """R as a transform: ``(B, C, H, W)`` or ``(C, H, W)`` to the same shape, for any H and W; labels stay valid.

    The output has the dtype, range, device and memory format of the input. R runs in eval mode with frozen weights,
    whatever is done to a parent module: ``train()``, ``half()`` and ``apply()`` of the parent have no effect on it,
    ``to(device)`` moves it. It also keeps its own precision under the parent's autocast.

    Args:
        refiner: R; its weights are frozen.
        channels: C.
        p: probability that an image of a batch is refined; the others are returned unchanged, at no cost.
        range: lowest and highest value of float images; uint8 images are always 0 to 255. Values far outside are
            refused: on the CPU in every batch, on a GPU in the first one (the check synchronizes with the device).
        grad: propagate gradients to float images; without it no graph is built.
        versions: each refined image becomes one of three versions, equally likely: as it is, or in the style ``fda`` or
            ``histogram`` of a random real image of the run, or of a given one. In the style ``histogram`` the gradient
            is 1 - ``blend`` times that of R (``blend`` is ``evaluation.histogram.blend`` of the run, by default 1).
        generator: draws noise maps, the choice by ``p`` and the versions; None is torch's global generator (the CPU's
            for ``p`` and ``versions``). The same state gives the same images. The copy in a DataLoader worker is seeded
            from the worker's seed.
        autocast: reduced precision of R, or None.
        micro_batch: images that pass through R at once; "auto" chooses by device, None is all of them.
        compile: compile R with torch.compile on its first batch. A whole Refine can be compiled, too, with
            ``fullgraph=True`` if ``p`` is 1, ``versions`` is False and no noise is drawn from ``generator``; then it
            returns inference tensors in ``torch.inference_mode()``, as every compiled module does.
        about: origin of R, needed to save it and for ``versions``.

    Raises:
        UserError: ``p`` outside [0, 1], ``range`` not two finite numbers in ascending order, ``generator`` of another
            type, or ``versions`` of a folder without styles.safetensors.
    """

    amplitudes: Tensor  # of the styles, for ``versions``
    levels: Tensor

    def __init__(
        self,
        refiner: nn.Module,
        *,
        channels: int,
        p: float = 1.0,
        range: tuple[float, float] = (0.0, 1.0),
        grad: bool = False,
        versions: bool = False,
        generator: torch.Generator | None = None,
        autocast: torch.dtype | None = None,
        micro_batch: int | str | None = None,
        compile: bool = False,
        about: Pretrained | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(generator, torch.Generator | None):
            raise UserError(f"generator is {generator!r}; give torch.Generator().manual_seed(...), or None")
        self.refiner = refiner.requires_grad_(False)
        self.channels, self.p, self.scale, self.grad = channels, check_probability(p), ValueRange.of(range), grad
        self.generator, self.autocast, self.micro_batch = generator, autocast, micro_batch
        self.compiled, self.about, self.versions = compile, about, versions
        if versions:
            if about is None:
                raise UserError("versions=True needs the styles of a run, not a bare network; use Refine.load")
            if about.styles is None:
                raise missing_styles(about.folder, "versions=True")
            styles = about.styles.to(next(refiner.parameters(), about.styles.levels).device)
            self.register_buffer("amplitudes", styles.amplitudes, persistent=False)
            self.register_buffer("levels", styles.levels, persistent=False)
            self.blend, self.beta = about.config.evaluation.histogram.blend, about.config.evaluation.fda.beta
        self._range_checked: set[str] = set()  # names of what was checked in this process
        self._worker_seed: int | None = None  # of the DataLoader worker that this process is
        if compile:
            refiner.compile()
        self.eval()

    def forward(self, image: Tensor, noise: Tensor | None = None, reference: Tensor | None = None) -> Tensor:
        """Refine ``(B, C, H, W)`` or ``(C, H, W)``, float in ``range`` or uint8.

        Args:
            image: the images; a single image is a batch of one.
            noise: standard normal maps for a refiner with noise, shaped like ``image`` with K channels; drawn if None.
            reference: with ``versions``, the real images whose styles the versions take instead of random ones of the
                run: one for each image ``(B, C, H', W')``, or one for all ``(C, H', W')`` or ``(1, C, H', W')``, float
                in ``range`` or uint8, of any size. No gradient flows to them.

        Raises:
            UserError: not a tensor, or a wrong shape, dtype, range or device; ``reference`` without ``versions``.
        """
        self._check(image, noise, reference)
        batch = image if image.ndim == 4 else image[None]
        noise = noise[None] if noise is not None and noise.ndim == 3 else noise
        reference = reference[None] if reference is not None and reference.ndim == 3 else reference
        grad, compiling = self.grad and torch.is_grad_enabled(), torch.compiler.is_compiling()
        if grad and not compiling:
            self.refiner.requires_grad_(False)  # undo a requires_grad_(True) of a parent module
        ordinary = torch.inference_mode(False) if not compiling and torch.is_inference_mode_enabled() else nullcontext()
        exporting = compiling and not torch.compiler.is_dynamo_compiling()
        if exporting and not grad:
            batch = batch.detach()  # because torch.export.save fails with set_grad_enabled
        with ordinary, nullcontext() if exporting else torch.set_grad_enabled(grad):
            if self.p == 1:
                out = self._refined(batch, noise, reference)
            else:
                rows = self._chosen(batch.shape[0]).to(batch.device, non_blocking=batch.is_cuda)
                out = batch.clone()
                if len(rows):
                    real = reference if reference is None or len(reference) == 1 else reference[rows]
                    out[rows] = self._refined(batch[rows], None if noise is None else noise[rows], real)
        return out if image.ndim == 4 else out[0]

    @property
    def noise_channels(self) -> int:
        """Number of noise maps that R takes; 0 means that the output depends on the image alone."""
        return int(getattr(self.refiner, "noise_channels", 0))

    def noise_of(
        self,
        index: Tensor,
        size: tuple[int, int],
        *,
        seed: int,
        version: int = 0,
        window: tuple[slice, slice] | None = None,
    ) -> Tensor | None:
        """Noise maps ``(B, K, H, W)`` as a function of seed, image index, version and pixel; None if R takes none.

        They are those of ``synthreal refine``, independent of batching.

        Args:
            index: ``(B,)`` int64; its device is the noise's.
            size: H, W.
            seed: as in ``refine --seed``.
            version: number of the refined version of an image.
            window: the rows and columns to return; None is all of them.
        """
        if not self.noise_channels:
            return None
        return indexed_noise(index, (self.noise_channels, *size), derive_seed(version, "refine", seed), window=window)

    def train(self, mode: bool = True) -> Refine:
        """Stay in eval mode, also when a parent module switches to training."""
        return super().train(False)

    def apply(self, fn: Callable[[nn.Module], None]) -> Refine:
        """Apply ``fn`` to this module only, so that a parent's weight initialization leaves R alone."""
        fn(self)
        return self

    def extra_repr(self) -> str:
        """The settings shown by ``print``."""
        draws = f"p={self.p}, range={self.scale}, grad={self.grad}, versions={self.versions}"
        return f"channels={self.channels}, {draws}, autocast={self.autocast}"

    def _check(self, image: Tensor, noise: Tensor | None, reference: Tensor | None) -> None:
        smallest = getattr(self.refiner, "smallest", 1)
        check_images(image, channels=self.channels, smallest=smallest, scale=self.scale)
        check_device(image, [*self.parameters(), image][0].device)  # torch 2.6 exports no `next` with a default
        check_noise(noise, image, self.noise_channels)
        check_reference(reference, image, versions=self.versions, scale=self.scale)

    def _unit(self, image: Tensor, name: str = "") -> Tensor:
        """Images as float32 in [0, 1], checked on the CPU always and on a GPU once for each ``name``."""
        unit = self.scale.unit(image)
        if torch.compiler.is_compiling() or image.dtype == torch.uint8:
            return unit
        if not (image.is_cuda and name in self._range_checked):
            self.scale.refuse(unit, name)
            self._range_checked.add(name)
        return unit

    def _refined(self, batch: Tensor, noise: Tensor | None, reference: Tensor | None) -> Tensor:
        unit, parts = self._unit(batch), None
        if not torch.compiler.is_compiling():
            parts = resolve_micro_batch(self.micro_batch, batch.device, *batch.shape[-2:])
        with torch.autocast(batch.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            refined = refine(self.refiner, unit, self._source(), noise=noise, micro_batch=parts).float()
        if self.versions:
            refined = self._versions_of(refined, reference)
        last = batch.is_contiguous(memory_format=torch.channels_last) and not batch.is_contiguous()
        order = torch.channels_last if last else torch.contiguous_format
        return self.scale.restore(refined, batch.dtype).contiguous(memory_format=order)

    def _chosen(self, count: int) -> Tensor:
        """The rows of a batch to refine."""
        return (self._drawn(count) < self.p).nonzero()[:, 0]

    def _versions_of(self, refined: Tensor, reference: Tensor | None) -> Tensor:
        """One version of each refined image ``(B, C, H, W)`` in [0, 1], in the style of a random or given real one."""
        versions = (VERSION_COUNT * self._drawn(len(refined))).long()
        if reference is None or not len(refined):  # FFTs refuse empty batches
            styles = StyleBank(self.amplitudes, self.levels)
            rows = (len(styles) * self._drawn(len(refined))).long()
        else:
            real = self._unit(reference.detach(), "reference").clamp(0, 1)
            styles, rows = StyleBank.of(real, beta=self.beta), torch.arange(len(refined), device=versions.device)
            rows = rows.clamp_max(len(real) - 1)  # one for all, or one for each
        return styles.adapt_each(refined, rows, versions, blend=self.blend)

    def _drawn(self, count: int) -> Tensor:
        """Uniform numbers in [0, 1) from the generator, on its device; without one on the CPU."""
        if torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling():
            settings = f"p is {self.p} and versions {self.versions}"
            raise UserError(f"Refine: {settings}, but an exported program cannot draw; export with p=1, versions=False")
        source = self._source()
        if source is None:  # not passed on, as in noise_for()
            return torch.rand(count, device="cpu")
        return torch.rand(count, generator=source, device=source.device)

    def _source(self) -> torch.Generator | None:
        """The generator; in a DataLoader worker it is seeded per worker, or all workers would draw the same."""
        worker = None if self.generator is None or torch.compiler.is_compiling() else get_worker_info()
        if self.generator is not None and worker is not None and worker.seed != self._worker_seed:
            self._worker_seed = worker.seed
            self.generator.manual_seed(derive_seed(worker.seed, "worker", self.generator.initial_seed()))
        return self.generator

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Refine:
        """Follow a parent to another device, but not to another dtype."""

        def moved(tensor: Tensor) -> Tensor:
            new = fn(tensor)
            return new if new.dtype == tensor.dtype else tensor.to(new.device)

        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return {**state, "generator": pack_generator(self.generator), "_range_checked": set(), "_worker_seed": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "generator": unpack_generator(state["generator"])})  # type: ignore[no-untyped-call]
        if self.compiled:
            self.refiner.compile()
