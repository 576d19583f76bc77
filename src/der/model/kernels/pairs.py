"""Batch normalisation folded into convolutions in modules that are not made of ConvNorm."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

# What torch.fx raises of a module whose operations depend on values, which it cannot follow.
UNTRACEABLE = (
    *(fx.proxy.TraceError, TypeError, ValueError, RuntimeError, AttributeError, AssertionError),
    *(LookupError, NotImplementedError),
)


class Tracer(fx.Tracer):
    """Takes convolutions and batch normalisations as they are, subclasses of torch's among them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d | _BatchNorm) or super().is_leaf_module(m, module_qualified_name)


def fold_pairs(module: nn.Module) -> None:
    """Fold, in place, every batch normalisation that alone takes what a convolution gives.

    As in evaluation mode. A module that cannot be traced stays as it is.
    """
    try:
        graph = Tracer().trace(module)
    except UNTRACEABLE:
        return
    for convolution, norm in [*_find_pairs(module, graph)]:
        conv, bn = module.get_submodule(convolution), module.get_submodule(norm)
        assert isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
        module.set_submodule(convolution, fuse_conv_bn_eval(conv.eval(), bn.eval()))
        module.set_submodule(norm, _without_normalisation(bn))


def _find_pairs(module: nn.Module, graph: fx.Graph) -> Iterator[tuple[str, str]]:
    """The names of convolutions and of the normalisations that follow; each is called once."""
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        before: Any = node.args[0] if node.args else None
        if not _calls(module, node, nn.BatchNorm2d) or not isinstance(before, fx.Node):
            continue
        if not _calls(module, before, nn.Conv2d) or len(before.users) != 1:
            continue
        if calls[node.target] == calls[before.target] == 1:
            yield str(before.target), str(node.target)


def _calls(module: nn.Module, node: fx.Node, kind: type[nn.Module]) -> bool:
    return node.op == "call_module" and isinstance(module.get_submodule(str(node.target)), kind)


def _without_normalisation(norm: nn.Module) -> nn.Module:
    """What is left of a normalisation: the activation that timm's holds."""
    activation = getattr(norm, "act", None)
    return nn.Identity() if activation is None else activation  # type: ignore[no-any-return]
