"""Run all benchmarks, and optionally the GPU tests, and write their results to one JSON file.

Usage: ``python benchmarks/suite.py --json FILE [--tests] [--budget SECONDS] [--quick] [--device auto] ...``

After ``--budget`` seconds, the running benchmark is stopped and the rest is skipped; the JSON lists both as
``"left_out"``. A benchmark that fails is listed as ``"failed"`` with the end of its output; the others still run, and
the exit code is 1. All other arguments are passed on to the benchmarks.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import arguments, target

HERE = Path(__file__).resolve().parent
NAMES = ("step", "refine", "stream", "hands", "estimator", "render", "profile", "start", "size", "memory")
TAIL, TESTS = 3000, 120  # characters, seconds


def tests(seconds: float | None) -> dict[str, Any]:
    """Run ``pytest -m gpu`` for at most two minutes; returns exit code, seconds and the end of the output.

    The host's pytest plugins are disabled, and warnings (of another torch version) are not errors.
    """
    flags = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "-W", "default"]
    command = [sys.executable, "-m", "pytest", *flags]
    limit = TESTS if seconds is None else min(seconds, TESTS)
    code, output, took = _run(command, limit, {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    return {"command": " ".join(command[1:]), "code": code, "seconds": round(took, 1), "output": output[-TAIL:]}


def _run(command: list[str], seconds: float | None, env: dict[str, str] | None = None) -> tuple[int | None, str, float]:
    """Exit code, output and seconds. After a timeout the process group is killed and the exit code is None."""
    started = time.perf_counter()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.Popen(command, cwd=HERE.parent, text=True, env=env, start_new_session=True, **pipes)
    try:
        output, code = done.communicate(timeout=seconds)[0], done.returncode
    except subprocess.TimeoutExpired:
        os.killpg(done.pid, signal.SIGKILL)
        output, code = done.communicate()[0], None
    except BaseException:  # interrupted: leave no process behind
        os.killpg(done.pid, signal.SIGKILL)
        done.wait()
        raise
    print(output, end="", flush=True)
    return code, output, time.perf_counter() - started


def main() -> None:
    """Run all benchmarks and write one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=target, required=True)
    parser.add_argument("--tests", action="store_true")
    parser.add_argument("--budget", type=float)
    options, remaining = parser.parse_known_args()
    arguments(__doc__, remaining)  # exits here if they are invalid
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    began = time.perf_counter()
    result: dict[str, Any] = {"benchmarks": {}, "seconds": {}, "failed": {}, "left_out": []}

    def left() -> float | None:
        return None if options.budget is None else max(1.0, options.budget - (time.perf_counter() - began))

    if options.tests:
        result["tests"] = tests(left())
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            if options.budget is not None and time.perf_counter() - began > options.budget:
                result["left_out"].append(name)
                continue
            print(f"== bench_{name}", flush=True)
            written = Path(folder) / f"{name}.json"
            command = [sys.executable, str(HERE / f"bench_{name}.py"), "--json", str(written), *remaining]
            code, output, took = _run(command, left())
            result["seconds"][name] = round(took, 1)
            if code is None:
                result["left_out"].append(name)
            elif code != 0:
                result["failed"][name] = output[-TAIL:]
            if written.is_file():  # also written when a measurement is wrong
                result["benchmarks"][name] = json.loads(written.read_text(encoding="utf-8"))
            _write(options.json, result)  # save after every benchmark
    _write(options.json, result)
    print(f"written: {options.json}; failed: {list(result['failed'])}; left out: {result['left_out']}")
    broken = result["failed"] or (options.tests and result["tests"]["code"] not in (0, 5))  # 5: no tests were collected
    sys.exit(1 if broken else 0)


def _write(path: Path, result: dict[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
