import pytest
import torch
from torch import nn

from cnnkit.models.zoo.lenet import WholeConv2d


@pytest.mark.parametrize("size", [5, 7])
def test_a_convolution_over_its_whole_input_is_the_convolution(size: int) -> None:
    torch.manual_seed(0)
    ours = WholeConv2d(3, 4, kernel_size=5).double()
    theirs = nn.Conv2d(3, 4, kernel_size=5).double()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, size, size, dtype=torch.float64, requires_grad=True)
    for layout in (torch.contiguous_format, torch.channels_last):
        placed = images.contiguous(memory_format=layout)
        wanted = theirs.to(memory_format=layout)(placed)
        got = ours.to(memory_format=layout)(placed)
        torch.testing.assert_close(got, wanted)
        gradients = [
            torch.autograd.grad(out.square().sum(), [net.weight, net.bias, images])
            for out, net in ((wanted, theirs), (got, ours))
        ]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other)
