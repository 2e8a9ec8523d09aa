"""The pipeline: order, errors of every stage, and no thread left behind."""

from __future__ import annotations

import threading
import time

import pytest

from synthreal.bulk.pipeline import AHEAD, pipeline


def test_results_are_in_order_and_stages_overlap():
    results = []
    read = threading.Event()

    def loads():
        for item in range(20):
            if item == 1:
                read.set()
            yield item

    def compute(item):
        assert read.wait(10)  # item 1 is read while item 0 is computed
        return item * item

    pipeline(loads(), compute, results.append)
    assert results == [item * item for item in range(20)]


def test_reading_is_only_a_few_items_ahead():
    count = 0

    def loads():
        nonlocal count
        for item in range(100):
            count += 1
            yield item

    def compute(item):
        time.sleep(0.002)
        assert count <= item + AHEAD + 2
        return item

    pipeline(loads(), compute, lambda done: None)


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_an_error_of_any_stage_ends_all_stages(stage):
    before, written = threading.active_count(), []

    def fail(where, item):
        if where == stage and item == 5:
            raise KeyError(stage)
        return item

    def write(item):
        written.append(fail("write", item))

    with pytest.raises(KeyError, match=stage):
        pipeline((fail("read", item) for item in range(1000)), lambda item: fail("compute", item), write)
    assert threading.active_count() == before
    assert written == [0, 1, 2, 3, 4]  # nothing is written after a failed write
