"""The header of a pack: the root attribute ``synthreal_pack``, and JSON as the bytes of ``/header`` (uint8).

The attribute is the version of the format, an integer; this library writes and reads 2. The JSON is an object with
``role``, ``dataset`` (the name), ``image``, ``labels``, ``options``, ``versions``, ``limit`` and ``skipped`` (``[[path,
reason], ...]``). It is no text attribute, because reading one of variable length from a damaged or crafted file hangs
HDF5 (2.0 and before) or crashes the process.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import h5py
import numpy as np
from pydantic import TypeAdapter

from synthreal.errors import UserError
from synthreal.spec import ROLES, ImageSpec, LabelSpec, Role, Skipped

FORMAT = 2
_VERSION_KEY = "synthreal_pack"
_IMAGE, _LABELS = TypeAdapter(ImageSpec), TypeAdapter(tuple[LabelSpec, ...])


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of one pack.

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

    def write(self, file: Any) -> None:
        """Write the header into an HDF5 file."""
        content = {
            "role": self.role,
            "dataset": self.name,
            "image": asdict(self.image),
            "labels": [asdict(label) for label in self.labels],
            "options": dict(self.options),
            "versions": dict(self.versions),
            "skipped": [[item.path, item.reason] for item in self.skipped],
            "limit": self.limit,
        }
        file.attrs[_VERSION_KEY] = FORMAT
        file["header"] = np.frombuffer(json.dumps(content, default=str).encode(), np.uint8)

    @classmethod
    def read(cls, file: Any) -> Header:
        """Read the header of an HDF5 file.

        Raises:
            UserError: not a pack, of another format, or with a wrong role or label; the message names no path.
            Exception: damaged; the type depends on the damage.
        """
        if _VERSION_KEY not in file.attrs:
            raise UserError("an HDF5 file but not a synthreal pack; make one with `synthreal prepare`")
        if file.attrs.get_id(_VERSION_KEY).dtype.kind not in "iu":  # see above: text is not read
            raise ValueError(f"{_VERSION_KEY} is not an integer")
        if (version := int(file.attrs[_VERSION_KEY])) != FORMAT:
            upgrade = "upgrade, or " if version > FORMAT else ""
            raise UserError(f"pack format {version}, this synthreal reads {FORMAT}; {upgrade}prepare it again")
        content = json.loads(plain_dataset(file, "header")[...].tobytes())
        limit = content["limit"]
        return cls(
            image=_IMAGE.validate_python(content["image"]),
            labels=_LABELS.validate_python(content["labels"]),
            role=content["role"],
            name=str(content["dataset"]),
            options=dict(content["options"]),
            versions=dict(content["versions"]),
            skipped=tuple(Skipped(str(path), str(reason)) for path, reason in content["skipped"]),
            limit=None if limit is None else int(limit),
        )


def plain_dataset(group: Any, name: str) -> Any:
    """The HDF5 dataset ``name`` of a group: numbers that this file stores itself, neither filtered nor compressed.

    HDF5 follows links and virtual or external storage into any other file, loads filters as libraries, and believes any
    shape. Raises ``ValueError`` for all of these.
    """
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"/{name} is missing or a link")
    found = group[name]
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "biuf" or found.dtype.itemsize > 8:
        raise ValueError(f"/{name} is not an array of numbers")
    if found.is_virtual or found.external or found.id.get_create_plist().get_nfilters():
        raise ValueError(f"/{name} is stored elsewhere or compressed")
    if math.prod(found.shape) * found.dtype.itemsize > found.file.id.get_filesize():
        raise ValueError(f"/{name} is larger than the file")
    return found
