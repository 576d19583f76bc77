"""A frozen layer as one operation of oneDNN, the library behind torch's convolutions on CPUs.

Addition and ReLU happen while the result of the convolution is still in a register, where three operations
would take three ways through memory.
"""

import torch
from torch import Tensor, nn


def serves(x: Tensor) -> bool:
    """Whether ``folded_layer`` can take ``x`` here; a graph that is exported must run elsewhere, too."""
    if x.device.type != "cpu" or not torch.backends.mkldnn.is_available() or torch.compiler.is_exporting():
        return False
    return x.dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def folded_layer(x: Tensor, conv: nn.Conv2d, residual: Tensor | None, relu: bool) -> Tensor:
    """relu(conv(x) + residual), the last two optional, without gradients; x is float32 or bfloat16."""
    assert conv.bias is not None
    values, bias = conv.weight.to(x.dtype), conv.bias.to(x.dtype)
    form = (list(conv.padding), list(conv.stride), [1, 1], 1)
    activation = "relu" if relu else None
    convolve = torch.ops.mkldnn._convolution_pointwise  # which torch's own compiler uses for this
    if residual is None:
        y: Tensor = convolve(x, values, bias, *form, activation or "none", [], "")
    else:
        y = convolve.binary(x, residual, values, bias, *form, "add", 1.0, activation, [], None)
    return y
