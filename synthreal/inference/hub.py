"""Refiners on the Hugging Face hub: which names mean it, downloading their files, and uploading a folder.

The mixin of ``huggingface_hub`` is not used: it wants config.json, and the extra at import time. Only
refiner.safetensors, styles.safetensors, config.toml and README.md are ever downloaded, so no code of a repository
reaches this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from synthreal.errors import UserError, require
from synthreal.files import reason
from synthreal.inference.pretrained import CARD, CONFIG, STYLES, WEIGHTS

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILES = (WEIGHTS, STYLES, CONFIG, CARD)
RUNS = "runs"  # the default place of run directories, never a user
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"(?!{RUNS}/){_PART}/{_PART}")
_SIGN_IN = "sign in with: hf auth login"


def client() -> HfApi:
    """The hub, with the token of this machine if it has one. Raises ``UserError`` without the extra ``hub``."""
    require("hub", "the Hugging Face hub", "huggingface_hub")
    from huggingface_hub import HfApi

    return HfApi(library_name="synthreal")


def resolve_folder(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a refiner: ``name`` itself, or what is downloaded for it (see :func:`is_repository`).

    Raises ``UserError`` for a revision of a folder, and like :func:`download`.
    """
    if is_repository(name, pinned=revision is not None):
        return download(str(name), revision)
    if revision is not None:
        raise UserError(f"{name}: is no repository of the hub, so it has no revision {revision!r}; leave it out")
    return Path(name)


def is_repository(name: str | Path, *, pinned: bool = False) -> bool:
    """Whether a name is a repository of the hub; anything else is a folder, for which nothing is downloaded.

    It is one if it is text of the form ``user/name``, and neither ``user/name`` nor ``user`` exists here, and ``user``
    is not "runs". With a revision (``pinned``) a folder ``user`` may exist, because only a repository has revisions.
    """
    if not isinstance(name, str) or not _REPOSITORY.fullmatch(name):
        return False
    return not Path(name).exists() and (pinned or not Path(name).parent.exists())


def download(repository: str, revision: str | None = None) -> Path:
    """The folder, in the hub's cache, that holds the refiner of a repository at a branch, tag or commit.

    Without a network it is what the cache holds. Raises ``UserError`` if the repository cannot be read (offline,
    missing, private, gated, no such revision), holds no refiner, or the extra is not installed.
    """
    hub = client()
    with _hub_errors(repository, revision):
        folder = Path(str(hub.snapshot_download(repository, revision=revision, allow_patterns=list(FILES))))
    if missing := [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]:
        raise UserError(
            f"{repository}: on the hub, it holds no refiner of synthreal (no {missing[0]}); correct the name"
        )
    return folder


def check_repository(repository: str) -> None:
    """Raise ``UserError`` for a name that nothing is uploaded to: not ``user/name``, or a path here."""
    if not _REPOSITORY.fullmatch(repository) or Path(repository).exists():
        raise UserError(f"{repository}: is no user/name of the hub, or a path here; a folder is for save_pretrained")


def upload(folder: Path, repository: str, *, private: bool, revision: str | None, message: str) -> str:
    """Upload the files of a folder as one commit, and return its hash; repository and branch are created.

    If the folder has no styles, those in the repository are deleted: they are of another refiner. Raises ``UserError``
    if the hub refuses it or cannot be reached, if ``private`` is asked of a public repository, or if the extra is not
    installed.
    """
    hub = client()
    with _hub_errors(repository, revision):
        hub.create_repo(repository, private=private, exist_ok=True)
        if private and not hub.repo_info(repository).private:
            raise UserError(f"{repository}: exists and is public; make it private on the hub, or choose another name")
        if revision is not None:
            hub.create_branch(repository, branch=revision, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(FILES),
            delete_patterns=STYLES,
            revision=revision,
            commit_message=message,
        )
    return str(commit.oid)


@contextmanager
def _hub_errors(repository: str, revision: str | None) -> Iterator[None]:
    """Raise what the hub's client raises as one line about the repository."""
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # the base of the client's own library

    try:
        yield
    except errors.GatedRepoError as error:
        page = f"https://huggingface.co/{repository}"
        raise UserError(f"{repository}: access is restricted; ask for it on {page}, then {_SIGN_IN}") from error
    except errors.RepositoryNotFoundError as error:
        message = f"{repository}: is no folder here and no repository on the hub, or a private one"
        raise UserError(f"{message}; correct the name, or {_SIGN_IN}") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{repository}: has no revision {revision!r}; see its commits on the hub") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        remedy = f"{_SIGN_IN}, with a token that may write" if status in (401, 403) else "try again later"
        raise UserError(f"{repository}: the hub answers with status {status}; {remedy}") from error
    except errors.HFValidationError as error:
        raise UserError(f"{repository}: no name of the hub ({error}); correct it") from error
    except (errors.LocalEntryNotFoundError, HTTPError, ConnectionError) as error:
        message = f"{repository}: is no folder here, and the hub cannot be reached ({type(error).__name__})"
        raise UserError(f"{message}; connect to the network, or give a folder") from error
    except ValueError as error:  # the hub checks the front matter before it takes files
        remedy = "give another licence, or correct the front matter of its README.md"
        raise UserError(f"{repository}: the hub refuses its card ({error}); {remedy}") from error
    except OSError as error:
        raise UserError(
            f"{repository}: its files cannot be copied ({reason(error)}); free or choose a cache"
        ) from error
