"""Imports go down only, each heavy library is imported by few packages, and domains import public names only."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "synthreal"

# From the bottom; packages of one layer are independent of each other.
ORDER = (
    ("errors",),
    ("spec", "files"),
    ("results", "distributed", "device", "images"),
    ("data", "config"),
    ("core",),
    ("hooks", "metrics"),
    ("inference",),
    ("train", "bulk", "adapters"),
    ("evaluation", "check"),
    ("report", "turing", "testing"),
    ("cli",),
    ("__init__", "__main__"),
)
LAYER = {name: i for i, names in enumerate(ORDER) for name in names}

# A library -> the only parts of the package that may import it.
ALLOWED_IMPORTERS = {
    "kornia": {"core", "adapters"},
    "h5py": {"data"},
    "PIL": {"images", "bulk", "train", "report", "adapters"},
    "cv2": {"images"},
    "ray": {"adapters"},
    "pluggy": {"hooks"},
    "safetensors": {"inference"},
    "typer": {"cli"},
    "rich": {"cli"},
    "albumentations": {"adapters"},
    "torchvision": {"adapters"},
    "datasets": {"adapters"},
    "webdataset": {"adapters"},
    "huggingface_hub": {"inference"},
    "onnx": {"adapters"},
    "onnxscript": {"adapters"},
    "onnxruntime": {"adapters"},
    "scipy": {"data", "metrics"},
    "matplotlib": {"report"},
    "tensorboard": {"train"},
    "wandb": {"train"},
    "mlflow": {"train"},
    "starlette": {"turing"},
    "uvicorn": {"turing"},
    "jinja2": {"inference", "report", "turing"},
}
# An adapter's classes are its library's: it imports it at the top, alone, and is itself imported inside functions.
ADAPTED = {"kornia", "albumentations", "torchvision", "datasets", "webdataset"}
# core imports no module for files, plugins, time or the command line.
CORE_MAY_NOT = {
    "os",
    "sys",
    "pathlib",
    "io",
    "time",
    "datetime",
    "json",
    "tomllib",
    "logging",
    "importlib",
    "random",
    "numpy",
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Every module a file imports, wherever in the file; ``from a import b`` gives ``a`` and ``a.b``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the whole name of the module"
            assert node.module is not None
            yield node.module, node


def imports_of(paths: list[Path]) -> Iterator[tuple[Path, str, ast.AST]]:
    for path in paths:
        for name, node in imports(path):
            yield path, name, node


def part(path: Path) -> str:
    """The part of the package a file belongs to: ``core``, ``cli``, ``__init__``..."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_part_has_a_layer():
    assert {part(path) for path in modules()} <= LAYER.keys()


def test_imports_go_down_only():
    for path, name, node in imports_of(modules()):
        if name.partition(".")[0] != "synthreal":
            continue
        where = f"{shown(path)}:{node.lineno} imports {name}"
        assert name != "synthreal", f"{where}: import the module itself"
        mine, other = part(path), name.split(".")[1]
        assert mine == other or LAYER[other] < LAYER[mine], f"{where}: from layer {LAYER[mine]} to {LAYER[other]}"


def test_every_library_has_its_home():
    for path, name, node in imports_of(modules()):
        library = name.partition(".")[0]
        where = f"{shown(path)}:{node.lineno} imports {name}"
        assert part(path) in ALLOWED_IMPORTERS.get(library, {part(path)}), where
        if part(path) == "core":
            assert library not in CORE_MAY_NOT, where
        inside = library in {
            *ADAPTED,
            "cv2",
            "huggingface_hub",
            "ray",
            "onnx",
            "onnxscript",
            "onnxruntime",
            "wandb",
            "mlflow",
        }
        if part(path) == "adapters" and library in ADAPTED:
            assert library == path.stem, f"{where}: only adapters/{library}.py does"
        elif inside or (name.startswith("synthreal.adapters.") and part(path) != "adapters"):
            assert node.col_offset > 0, f"{where}: inside the function that needs it"


def test_every_library_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    found = {name.partition(".")[0] for path in modules() for name, _ in imports(path)}
    distributions = packages_distributions()
    for library in sorted(found - sys.stdlib_module_names - {"synthreal"}):
        known = {name.lower().replace("_", "-") for name in distributions.get(library, [library])}
        assert known & declared, f"{library} is imported, but pyproject.toml declares none of {sorted(known)}"


def test_one_package_knows_torch_distributed():
    users = {part(path) for path in modules() for name, _ in imports(path) if name.startswith("torch.distributed")}
    assert users == {"distributed"}


def test_the_command_line_and_the_face_import_their_work_when_it_is_asked_for():
    work = {"tables", "progress"}  # parts of cli that import the library; commands import them when they run
    paths = [path for path in sorted((PACKAGE / "cli").glob("*.py")) if path.stem not in work]
    for path in (*paths, PACKAGE / "__main__.py", PACKAGE / "__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
        inside = {module for module in named if module.startswith("synthreal")}
        assert {".".join(module.split(".")[:2]) for module in inside} <= {"synthreal.errors", "synthreal.cli"}
        assert not inside & {f"synthreal.cli.{name}" for name in work}, path


OUTSIDE = [
    path
    for folder in ("plugins", "examples", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.parent.name != "torture"  # gives damaged files to readers below the public functions
]


def test_domains_examples_and_benchmarks_import_public_names():
    for path, name, node in imports_of(OUTSIDE):
        allowed = {"synthreal.cli"} if "tests" in path.parts else set()  # plugin tests run the command line
        if name.partition(".")[0] != "synthreal" or name.startswith("synthreal.adapters.") or name in allowed:
            continue
        where = f"{shown(path)}:{node.lineno} imports {name}"
        public = getattr(importlib.import_module(name), "__all__", ())
        if isinstance(node, ast.ImportFrom):
            assert {alias.name for alias in node.names} <= set(public), where
        else:
            assert name == "synthreal", where


def test_there_is_something_to_check():
    assert len(modules()) > 40 and len(OUTSIDE) > 10


def test_at_most_23_packages_and_files_on_11_layers():
    parts = {part(path) for path in modules()} - {"__init__", "__main__"}
    assert len(parts) <= 23
    assert len({LAYER[name] for name in parts}) <= 11


def test_no_package_holds_more_than_17_percent_of_all_lines():
    lines = Counter()
    for path in modules():
        lines[part(path)] += path.read_text(encoding="utf-8").count("\n")
    (name, most), *_ = lines.most_common()
    assert most <= 0.17 * lines.total(), name
