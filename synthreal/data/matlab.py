"""Numeric arrays of MATLAB files, read in a child process, so that a damaged file cannot end the caller.

scipy's reader is C code that trusts the lengths in a file: damaged files end it with a segmentation fault, keep it busy
for ever or make it allocate gigabytes. The child process is this module run as a script. It reads one file after
another, because importing scipy takes longer than most files, and is replaced after every file that it cannot read.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synthreal.errors import UserError, one_line
from synthreal.files import regular_file

START_SECONDS = 120.0  # to start Python and import scipy, perhaps from a slow disk
READ_SECONDS = 10.0
BYTES_PER_SECOND = 2e7  # of the file; added to READ_SECONDS
MEMORY = 2**30  # bytes that a file may need, besides MEMORY_FACTOR times its size
MEMORY_FACTOR = 8


def read_matlab(path: Path, names: Sequence[str], *, remedy: str) -> dict[str, np.ndarray]:
    """Read numeric arrays from a MATLAB file of version 4 to 7.2.

    Args:
        path: the file.
        names: variables, or fields of structs as dotted names: ``"joint_uvd"``, ``"data.left.gaze"``.
        remedy: what the user should do about a broken file; it ends each error message.

    Returns:
        The array of each name, with the shape and dtype that ``scipy.io.loadmat`` gives it: at least two dimensions.

    Raises:
        UserError: the file is missing, damaged, in version 7.3 (HDF5), or takes more than 10 s and 1 s per 20 MB, or
            more memory than 1 GiB and 8 times its size; a name is missing or not numeric.
    """
    try:
        size = regular_file(path).stat().st_size
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    child = _CHILDREN.setdefault(os.getpid(), _Child())
    try:
        arrays = child.read(path.absolute(), names, size)
    except _Refused as error:
        raise UserError(f"{path}: {error}; {remedy}") from error
    return dict(zip(names, arrays, strict=True))


class _Refused(Exception):
    """The reason for which a file is not read."""


class _Child:
    """The child process; started by the first file, and again by the first file after a broken one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def read(self, path: Path, names: Sequence[str], size: int) -> list[np.ndarray]:
        with self.lock:
            try:
                if self.process is None:
                    self.process = _start()
                    self._answer(START_SECONDS, {})
                request = {"path": str(path), "names": list(names), "memory": MEMORY + MEMORY_FACTOR * size}
                return self._answer(READ_SECONDS + size / BYTES_PER_SECOND, request)
            except BaseException:  # Ctrl-C too: the rest of the answer would be read as that to the next request
                if self.process is not None:
                    self.process.kill()
                    self.process.communicate()
                    self.process = None
                raise

    def _answer(self, seconds: float, request: dict[str, Any]) -> list[np.ndarray]:
        """Send a request and return the arrays of the answer."""
        assert self.process is not None and self.process.stdin is not None and self.process.stdout is not None
        start, timer = time.monotonic(), threading.Timer(seconds, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
            arrays = [_array_of(self.process.stdout.read(size)) for size in answer["sizes"]]
        except (OSError, ValueError) as error:
            self.process.kill()
            code = self.process.wait()
            reason = f"its reader ended with {signal.Signals(-code).name if code < 0 else f'code {code}'}"
            if time.monotonic() - start >= seconds:
                reason = f"not read within {seconds:.0f} s"
            raise _Refused(f"not a readable MATLAB file ({reason})") from error
        finally:
            timer.cancel()
        if "error" in answer:
            raise _Refused(answer["error"])
        return arrays


_CHILDREN: dict[int, _Child] = {}  # by process id: a forked process must not share its parent's


def _start() -> subprocess.Popen[bytes]:
    """Start this file as a script that finds the caller's modules in any working directory and ignores its Ctrl-C."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )


def _array_of(data: bytes) -> np.ndarray:
    return np.asarray(np.lib.format.read_array(io.BytesIO(data), allow_pickle=False))


def _serve() -> None:
    """Answer each request, a line of JSON, by a line of JSON and the arrays in npy format."""
    import scipy.io  # noqa: F401  # before the first file's time and memory are measured

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin.buffer:
        request, arrays, answer = json.loads(line), [], {}
        if request:
            try:
                arrays = _load(**request)
            except _Refused as error:
                answer["error"] = str(error)
            except NotImplementedError:
                answer["error"] = "a MATLAB v7.3 (HDF5) file, not one saved as -v7"
            except Exception as error:  # scipy raises a dozen different types
                answer["error"] = f"not a readable MATLAB file ({one_line(error) or type(error).__name__})"
        sys.stdout.buffer.write(json.dumps({**answer, "sizes": [len(array) for array in arrays]}).encode() + b"\n")
        for array in arrays:
            sys.stdout.buffer.write(array)
        sys.stdout.buffer.flush()


def _load(path: str, names: list[str], memory: int) -> list[memoryview]:
    """The arrays of a file in npy format, read with at most ``memory`` bytes more than the process has now."""
    from scipy.io import loadmat

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    with Path(path).open("rb") as file:
        content = loadmat(file, variable_names=[name.partition(".")[0] for name in names])
    arrays = []
    for name in names:
        value = _field(content, name)
        if value is None:
            raise _Refused(f"has no field {name}")
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufc":
            raise _Refused(f"field {name} does not hold numbers")
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, value, allow_pickle=False)
        arrays.append(buffer.getbuffer())
    return arrays


def _field(value: Any, name: str) -> Any:
    """The field with a dotted name, or None."""
    for part in name.split("."):
        value = _unwrap(value)
        if isinstance(value, np.ndarray) and value.dtype.names and part in value.dtype.names and value.size == 1:
            value = value[part].item()
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return _unwrap(value)


def _unwrap(value: Any) -> Any:
    """The content of a cell: scipy gives it in an array of one object, at any depth."""
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.item()
    return value


if __name__ == "__main__":
    _serve()
