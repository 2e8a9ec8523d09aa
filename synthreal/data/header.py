"""The header of a pack: the attributes of its HDF5 root.

``synthreal_pack`` is the version of the format, an integer; this library writes 1 and reads up to 1. ``role`` and
``dataset`` (the name) are text. ``image``, ``labels``, ``options``, ``versions``, ``limit`` and ``skipped``
(``[[path, reason], ...]``) are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from synthreal.errors import UserError
from synthreal.spec import ROLES, ImageSpec, LabelSpec, Role, Skipped

FORMAT = 1
_VERSION_KEY = "synthreal_pack"


@dataclass(frozen=True, kw_only=True)
class Header:
    """The attributes of one pack.

    ``labels`` are those that every image has, none in the role ``real``. ``name`` and ``options`` are those of the data
    set, ``versions`` those of the distributions, ``limit`` is the requested number of images (None: all).
    """

    image: ImageSpec
    labels: tuple[LabelSpec, ...] = ()
    role: Role
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise UserError(f"data set {self.name!r}: role {self.role!r} is not one of {', '.join(ROLES)}")
        if self.role == "real":
            object.__setattr__(self, "labels", ())
        names = [label.name for label in self.labels]
        for name in names:
            if not name or "/" in name or name == "." or names.count(name) > 1:
                where = f"data set {self.name!r}: label name {name!r}"
                raise UserError(f"{where} is empty, '.', repeated or contains a '/'; rename it")

    def to_attributes(self) -> dict[str, Any]:
        """The attributes to write."""
        return {
            _VERSION_KEY: FORMAT,
            "role": self.role,
            "dataset": self.name,
            "image": json.dumps(asdict(self.image)),
            "labels": json.dumps([asdict(label) for label in self.labels]),
            "options": json.dumps(dict(self.options), default=str),
            "versions": json.dumps(dict(self.versions)),
            "skipped": json.dumps([[item.path, item.reason] for item in self.skipped]),
            "limit": json.dumps(self.limit),
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], path: Path) -> Header:
        """Parse attributes. Raises ``UserError`` if they are not of a pack, newer than this library, or damaged."""
        if _VERSION_KEY not in attributes:
            raise UserError(f"{path}: an HDF5 file but not a synthreal pack; make one with `synthreal prepare`")
        try:
            version = int(attributes[_VERSION_KEY])
            if version > FORMAT:
                raise UserError(f"pack format {version}, this synthreal reads up to {FORMAT}; upgrade or prepare again")
            return cls(
                image=ImageSpec(**json.loads(attributes["image"])),
                labels=tuple(LabelSpec(**label) for label in json.loads(attributes["labels"])),
                role=attributes["role"],
                name=str(attributes["dataset"]),
                options=dict(json.loads(attributes["options"])),
                versions=dict(json.loads(attributes["versions"])),
                skipped=tuple(Skipped(*item) for item in json.loads(attributes["skipped"])),
                limit=json.loads(attributes["limit"]),
            )
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise UserError(f"{path}: its attributes are damaged ({error}); prepare the pack again") from error
