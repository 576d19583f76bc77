"""timm's models as feature extractors.

# B batch, C channels, H and W pixels, D features
"""

import re
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from der.core.errors import UserError
from der.core.randomness import lending
from der.model.extractor import Extractor
from der.model.kernels.pairs import fold_pairs
from der.model.timm_models import TimmModel

Tuned = Literal["all", "last", "none"]


class Mean(nn.Module):
    """The mean over the pixels, (B, D, H, W) to (B, D, 1, 1).

    In place of AdaptiveAvgPool2d, whose backward pass is not deterministic on CUDA.
    """

    def forward(self, x_BDHW: Tensor) -> Tensor:
        return x_BDHW.mean((2, 3), keepdim=True)


class TimmExtractor(Extractor):
    """A model of timm without its classifier: its pooled features (B, D).

    What is not ``tuned`` gets no gradients and stays in evaluation mode. Layers compute in the dtype of the
    images as torch's autocast decides; parameters are float32 all the same.
    """

    def __init__(self, model: Any, channels: int, known: TimmModel, tuned: Tuned) -> None:
        super().__init__()
        self.model = model
        self.channels = channels
        self.features = int(getattr(model, "head_hidden_size", None) or model.num_features)
        self.side = known.side if known.fixed_side else None
        names = set(list_tuned(model, tuned, known.name))
        for name, value in model.named_parameters():
            value.requires_grad_(name in names)
        self.kept = list_kept(model)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.side not in (None, x_BCHW.shape[-1]):
            raise UserError(
                f"network.backbone: this model takes images of {self.side} pixels alone, not of "
                f"{x_BCHW.shape[-1]}; give images of {self.side}"
            )
        if x_BCHW.dtype == torch.float32 or x_BCHW.dtype == torch.float64:
            return self.model(x_BCHW)  # type: ignore[no-any-return]
        # No cache of cast weights: a captured step would keep those of its first batch.
        with torch.autocast(x_BCHW.device.type, x_BCHW.dtype, cache_enabled=False):
            return self.model(x_BCHW).float()  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> "TimmExtractor":
        super().train(mode)
        for module in self.kept:
            module.training = False
        return self

    def fold(self) -> None:
        """Put batch normalisation, as in evaluation mode, into the convolutions, where it can be."""
        fold_pairs(self.model)


def build_timm(known: TimmModel, channels: int, tuned: Tuned) -> TimmExtractor:
    """An extractor for images of so many channels; its weights are torch's draws, and to be replaced."""
    return TimmExtractor(_create(known.name, channels), channels, known, tuned)


def draw_timm(extractor: nn.Module, known: TimmModel, generator: torch.Generator) -> None:
    """Draw all weights as timm does, in place, from ``generator`` and nothing else."""
    assert isinstance(extractor, TimmExtractor)
    stream = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
    with lending(stream, stream.device), torch.no_grad():  # timm draws from torch's own generator alone
        drawn = _create(known.name, extractor.channels).state_dict()
        for name, value in extractor.state_dict().items():
            value.copy_(drawn[name.removeprefix("model.")])


def _create(name: str, channels: int) -> Any:
    import timm

    model = timm.create_model(name, num_classes=0, in_chans=channels)
    for module in [*model.modules()]:
        if isinstance(module, _BatchNorm):
            module.num_batches_tracked = None  # unused with a momentum, and one kernel per layer and step
        for child, pool in module.named_children():
            if isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size in (1, (1, 1)):
                setattr(module, child, Mean())
    return model


def list_kept(model: nn.Module) -> list[nn.Module]:
    """The modules without a parameter that is trained, and all inside them: what drops paths among it."""
    own = [(module, [*module.parameters()]) for module in model.modules()]
    whole = [one for one, values in own if values and not any(value.requires_grad for value in values)]
    return [*dict.fromkeys(inner for one in whole for inner in one.modules())]


def list_tuned(model: Any, tuned: Tuned, name: str) -> list[str]:
    """The names of the parameters of ``model`` that a step trains.

    Of "last" those of its last stage and of what follows, as timm groups them for rates by layer. Raises
    UserError for a model that does not tell its stages.
    """
    names = [one for one, _ in model.named_parameters()]
    if tuned != "last":
        return names if tuned == "all" else []
    from timm.models import group_parameters

    try:
        matcher = model.group_matcher(coarse=True)
    except (AttributeError, AssertionError, NotImplementedError):
        raise UserError(f"network.tuned: timm:{name} does not tell its stages; write all or none") from None
    stage_of: dict[str, int] = group_parameters(model, matcher, reverse=True)
    last = max(stage_of[one] for one in names if _is_in_a_stage(one, matcher))
    return [one for one in names if stage_of[one] >= last]


def _is_in_a_stage(name: str, matcher: Any) -> bool:
    """Whether ``matcher`` names the stage of a parameter, not only leaves it to the end."""
    return not isinstance(matcher, dict) or any(re.match(one, name) for one in _patterns(matcher))


def _patterns(matcher: dict[str, Any]) -> Iterator[str]:
    for entry in matcher.values():
        if isinstance(entry, str):
            yield entry
        elif entry is not None:
            yield from (pattern for pattern, _ in entry)
