"""Loading, saving and sharing a refiner: the methods of ``Refine`` that read and write its folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from torch import nn

from synthreal.device import autocast_dtype, resolve_device, resolve_precision, set_memory_format, should_compile
from synthreal.errors import UserError
from synthreal.inference.hub import check_repository, resolve_folder, upload
from synthreal.inference.model_card import model_card, stored_card, with_example, with_licence
from synthreal.inference.pretrained import Pretrained, read_pretrained, write_pretrained
from synthreal.inference.workers import refuse_forked_cuda


class SharingMixin:
    """Loads, saves and shares a refiner; the method names are those of ``huggingface_hub``.

    ``Refine`` inherits from it, and is made with the arguments that :meth:`load` passes to the class.

    Attributes:
        refiner: R.
        about: its origin; None if it was not loaded from a folder.
    """

    refiner: nn.Module
    about: Pretrained | None

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        device: str | torch.device = "auto",
        p: float = 1.0,
        range: tuple[float, float] = (0.0, 1.0),
        grad: bool = False,
        versions: bool = False,
        generator: torch.Generator | None = None,
        precision: str | None = None,
        compile: bool = False,
        trust: bool = False,
    ) -> Self:
        """The refiner of a run directory, or of a folder that :meth:`save_pretrained` wrote.

        Nothing is unpickled, torch's global generator does not advance, and a built-in refiner loads no plugin.

        Args:
            run: the folder.
            device: "auto", "cpu", "cuda" or "cuda:N".
            p: see the class, also for ``range``, ``grad``, ``versions``, ``generator`` and ``compile``.
            range: of float images.
            grad: propagate gradients.
            versions: each refined image becomes one of three versions, at random; see the class.
            generator: draws noise maps, the choice by ``p`` and the versions.
            precision: "auto", "float32" or "bfloat16"; None is the setting of the run.
            compile: compile R.
            trust: run the code of plugins that the folder names and that are not installed, if R comes from one.

        Raises:
            UserError: a file is missing or damaged; weights that do not fit; a missing plugin; CUDA in a forked
                process; no compiler for ``compile``; ``versions`` of a folder without styles.safetensors.
        """
        place = resolve_device(str(device))
        refuse_forked_cuda(place)
        with torch.inference_mode(False):  # weights made in inference mode could never take part in autograd
            refiner, about = read_pretrained(Path(run), trust=trust)
            image, runtime = about.config.image, about.config.runtime
            set_memory_format(refiner.to(place), runtime.layout)
        make: Callable[..., Self] = cls
        return make(
            refiner,
            channels=image.channels,
            p=p,
            range=range,
            grad=grad,
            versions=versions,
            generator=generator,
            autocast=autocast_dtype(resolve_precision(precision or runtime.precision, place)),
            micro_batch=runtime.micro_batch,
            compile=compile and should_compile(True, place, 0),
            about=about,
        )

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, **settings: Any) -> Self:
        """:meth:`load` from a folder, or from the Hugging Face hub.

        A text ``user/name`` is a repository of the hub if neither it nor the folder ``user`` exists here and ``user``
        is not "runs". Everything else is a folder. Only refiner.safetensors, styles.safetensors, config.toml and
        README.md are downloaded, nothing is unpickled, and no code of a repository runs.

        Args:
            name: folder, or ``user/name`` (extra ``hub``).
            revision: branch, tag or commit hash of a repository; a hash pins it. With one, a folder ``user`` may exist.
            settings: those of :meth:`load`.

        Raises:
            UserError: as of :meth:`load`; the repository is missing, private or gated, holds no refiner, or is not in
                the cache while there is no network; the extra is not installed; a revision of a folder.
        """
        return cls.load(resolve_folder(name, revision), **settings)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False, licence: str | None = None) -> None:
        """Write refiner.safetensors, styles.safetensors, config.toml and a model card (README.md), for sharing.

        The styles are statistics of up to 128 real images, no pictures; older runs have none. config.toml is that of
        the run, including the paths of its data. The card shows the results in the run's evaluation.json if they belong
        to these weights. Saving from a saved folder copies its card.

        Args:
            folder: created if missing.
            overwrite: replace these files in it.
            licence: identifier as on the hub, such as "mit" or "cc-by-4.0", for the card; None keeps that of a copied
                card, and is "unknown" in a new one.

        Raises:
            UserError: the folder holds one of these files, or a run; it cannot be written; R was not loaded from a
                folder; or ``licence`` is no identifier.
        """
        about, card = self._described(licence)
        write_pretrained(Path(folder), self.refiner, about, card, overwrite=overwrite)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        licence: str | None = None,
        private: bool = False,
        revision: str | None = None,
        commit_message: str = "Add a refiner of synthreal",
    ) -> str:
        """Upload what :meth:`save_pretrained` writes to the Hugging Face hub, and return the hash of the commit.

        So config.toml with the paths of the run's data goes along. The token is that of ``hf auth login``. The hash is
        a ``revision`` of :meth:`from_pretrained`.

        Args:
            repo_id: ``user/name``, created if missing; no path that exists here.
            licence: see :meth:`save_pretrained`.
            private: create a private repository.
            revision: branch to commit to, created if missing; None is the default branch.
            commit_message: of the commit.

        Raises:
            UserError: as of :meth:`save_pretrained`; a wrong ``repo_id``; the hub refuses the card (a licence that it
                does not know) or the upload, or cannot be reached; ``private`` for a repository that is public; the
                extra ``hub`` is not installed.
        """
        check_repository(repo_id)
        about, card = self._described(licence)
        with TemporaryDirectory() as folder:
            write_pretrained(Path(folder), self.refiner, about, with_example(card, repo_id), overwrite=False)
            return upload(Path(folder), repo_id, private=private, revision=revision, message=commit_message)

    def _described(self, licence: str | None) -> tuple[Pretrained, str]:
        """The origin of R and its model card."""
        if self.about is None:
            raise UserError("Refine was made from a bare network; only the result of Refine.load can be saved")
        card = stored_card(self.about.folder) or model_card(self.about, self.refiner)
        return self.about, card if licence is None else with_licence(card, licence)
