"""Padding by replication, compiled and not."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from synthreal.core.convolution import Convolution, pad_replicate


@pytest.mark.parametrize(("height", "width", "border"), [(5, 7, 1), (1, 1, 3)])
def test_replicated_equals_the_padding_of_torch(height, width, border, generator, device):
    maps = torch.rand(2, 3, height, width, generator=generator, device=device)
    maps = maps.to(memory_format=torch.channels_last).requires_grad_()
    ours, wanted = pad_replicate(maps, border), F.pad(maps, (border,) * 4, mode="replicate")
    assert torch.equal(ours, wanted) and ours.is_contiguous(memory_format=torch.channels_last)
    weight = torch.rand(ours.shape, generator=generator, device=device)
    for padded in (ours, wanted):
        (padded * weight).sum().backward()
    first, maps.grad = maps.grad / 2, None
    (pad_replicate(maps, border) * weight).sum().backward()
    torch.testing.assert_close(maps.grad, first)


@pytest.mark.parametrize(("padding", "pads"), [("replicate", 0), ("reflect", 1)])
@pytest.mark.filterwarnings("ignore")  # warnings of the compiler
def test_a_compiled_convolution_has_no_replicating_pad_and_computes_the_same(padding, pads, generator):
    torch._dynamo.reset()
    network, maps, graphs = Convolution(2, 3, 5, padding), torch.rand(2, 2, 6, 9, generator=generator), []
    compiled = torch.compile(network, backend=lambda graph, inputs: graphs.append(graph) or graph.forward)
    torch.testing.assert_close(compiled(maps), network(maps))
    assert sum("pad" in str(node.target) for node in graphs[0].graph.nodes) == pads
