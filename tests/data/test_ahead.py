"""Calls in a pool: results in order, and a bounded number of calls ahead."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from synthreal.data.ahead import map_ahead


def test_map_ahead_keeps_the_order_and_its_depth():
    taken = []

    def items():
        for item in range(30):
            taken.append(item)
            yield item

    with ThreadPoolExecutor(4) as pool:
        for place, found in enumerate(map_ahead(pool, lambda item: -item, items(), 6)):
            assert found == -place and len(taken) <= place + 6
