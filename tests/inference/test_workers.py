"""Detection of forked processes, where CUDA is refused with a remedy."""

from __future__ import annotations

import multiprocessing
import os
from types import SimpleNamespace

import pytest
import torch

from synthreal.errors import UserError
from synthreal.inference import workers as worker
from synthreal.inference.workers import forked, in_worker, refuse_forked_cuda

REMEDY = "device='cpu'.*multiprocessing_context='spawn'"


def report(queue):
    try:
        refuse_forked_cuda("cuda:0")
        message = ""
    except UserError as error:
        message = str(error)
    queue.put((forked(), in_worker(), os.getpid() != worker._IMPORTED_IN, message != "", torch.cuda._is_in_bad_fork()))


@pytest.mark.parametrize("context, known", [("fork", True), pytest.param("spawn", False, marks=pytest.mark.slow)])
def test_a_process_knows_whether_it_was_forked(context, known):
    start = multiprocessing.get_context(context)
    queue = start.Queue()
    process = start.Process(target=report, args=(queue,))
    process.start()
    answer = queue.get(timeout=120)
    process.join()
    *known_there, refused, bad = answer
    assert known_there == [known, known, known]
    assert refused is bad  # a CUDA build counts devices before the fork, also where there are none


def test_the_main_process_is_neither_forked_nor_a_worker():
    assert not forked() and not in_worker()
    refuse_forked_cuda("cuda")


def test_a_forked_data_loader_worker_refuses_cuda(monkeypatch):
    monkeypatch.setattr(worker, "get_worker_info", lambda: SimpleNamespace(id=0))
    assert in_worker() and not forked()
    refuse_forked_cuda("cuda")  # a spawned worker has its own CUDA context
    monkeypatch.setattr(worker, "_IMPORTED_IN", 0)
    refuse_forked_cuda("cpu")
    with pytest.raises(UserError, match=REMEDY):
        refuse_forked_cuda(torch.device("cuda", 1))


def test_a_process_that_torch_reports_as_badly_forked_refuses_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    refuse_forked_cuda("cpu")
    with pytest.raises(UserError, match=REMEDY):
        refuse_forked_cuda("cuda")
