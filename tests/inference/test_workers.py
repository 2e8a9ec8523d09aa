"""Processes: what was forked is known as such, and CUDA is refused there, with what to do instead."""

from __future__ import annotations

import multiprocessing
import os
from types import SimpleNamespace

import pytest
import torch

from synthreal.errors import UserError
from synthreal.inference import workers as worker
from synthreal.inference.workers import forked, in_worker, refuse_forked_cuda

INSTEAD = "whole batches in the main process with synthreal.Refine, or give device='cpu', or start workers with multi"


def told(queue):
    try:
        refuse_forked_cuda("cuda:0")
        message = ""
    except UserError as error:
        message = str(error)
    queue.put((forked(), in_worker(), os.getpid() != worker._IMPORTED_IN, message))


@pytest.mark.parametrize("context, known", [("fork", True), ("spawn", False)])
def test_a_process_knows_whether_it_was_forked(context, known):
    start = multiprocessing.get_context(context)
    queue = start.Queue()
    process = start.Process(target=told, args=(queue,))
    process.start()
    answer = queue.get(timeout=120)
    process.join()
    assert answer[:3] == (known, known, known)
    assert not answer[3] or torch.cuda.is_initialized()


def test_this_process_works_for_nobody():
    assert not forked() and not in_worker()
    refuse_forked_cuda("cuda")


def test_a_loaders_worker_works_for_another(monkeypatch):
    monkeypatch.setattr(worker, "get_worker_info", lambda: SimpleNamespace(id=0))
    assert in_worker() and not forked()
    refuse_forked_cuda("cuda")  # spawned: it has a CUDA of its own
    monkeypatch.setattr(worker, "_IMPORTED_IN", 0)
    refuse_forked_cuda("cpu")
    with pytest.raises(UserError, match=INSTEAD):
        refuse_forked_cuda(torch.device("cuda", 1))


def test_a_process_torch_calls_badly_forked_is_refused_whoever_forked_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    refuse_forked_cuda("cpu")
    with pytest.raises(UserError, match=INSTEAD):
        refuse_forked_cuda("cuda")
