"""Trying what builds and draws parts of a network, which may be anyone's, before anything is trained.

# B batch, C channels, D features
"""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

from der.core.errors import UserError
from der.core.randomness import keeping_own
from der.model.backbones import build_extractor
from der.model.extractor import Extractor
from der.settings.sections import NetworkSettings

M = TypeVar("M", bound=nn.Module)
TRIED = 2  # images
UNFIT = (RuntimeError, AssertionError)  # of torch and timm, where a layer cannot take images of their side
# Modules of torch that never draw from its own generators.
DRAWLESS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.Identity, nn.MaxPool2d, nn.Sequential, nn.ModuleList)


def may_draw(*modules: nn.Module) -> bool:
    """Whether a pass through ``modules`` may draw from torch's own generators, as dropout does.

    Nothing of ours and of DRAWLESS does; of other modules nobody knows.
    """
    inner = {type(one) for module in modules for one in module.modules()}
    return not all(one in DRAWLESS or one.__module__.startswith("der.") for one in inner)


def draw_repeatably(
    draw: Callable[[torch.Generator], M], generator: torch.Generator, key: str, settings: NetworkSettings
) -> M:
    """What ``draw`` makes of ``generator``, and makes again of one in the same state.

    Raises UserError, naming ``key`` of section network and what it chooses, if the two differ: then results
    would not be a function of the seed.
    """
    twin = torch.Generator()
    twin.set_state(generator.get_state())
    module = draw(generator)
    values, others = module.state_dict(), draw(twin).state_dict()
    unlike = [name for name, value in values.items() if not torch.equal(value, others[name])]
    if unlike:
        raise UserError(
            f"network.{key}: {getattr(settings, key)} draws {unlike[0]} from something else than its "
            "generator, or not at all; draw all from it"
        )
    return module


@torch.no_grad()
def takes_one_image(extractor: Extractor, side: int, channels: int) -> bool:
    """Whether ``extractor`` can be trained on one image (C, side, side); it stays as it was.

    Batch normalisation raises ValueError where it gets one value per channel, as after pooling.
    """
    copied = copy.deepcopy(extractor).train()
    device = next(copied.parameters()).device
    try:
        with keeping_own(device) if may_draw(copied) else nullcontext():
            copied(torch.zeros(1, channels, side, side, device=device))
    except ValueError:
        return False
    return True


@torch.no_grad()
def try_extractor(extractor: Extractor, settings: NetworkSettings, side: int, channels: int) -> None:
    """Raise UserError, naming the backbone, unless ``extractor`` makes of images what ``Extractor`` says.

    Images (B, C, side, side) of zeros pass through it in evaluation mode; it stays as it was.
    """
    was_training = extractor.training
    device = next(extractor.parameters()).device
    try:
        found: object = extractor.eval()(torch.zeros(TRIED, channels, side, side, device=device))
    except UNFIT as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"network.backbone: {settings.backbone} takes no images of {side} pixels ({reason}); write "
            "another dataset.image_side"
        ) from error
    finally:
        extractor.train(was_training)
    if not isinstance(found, Tensor):
        shown = f"returns {type(found).__name__}"
    elif found.shape != (TRIED, extractor.features) or found.dtype != torch.float32:
        shown = f"makes {found.dtype} of shape {tuple(found.shape)} of {TRIED} images"
    else:
        return
    raise UserError(
        f"network.backbone: {settings.backbone} {shown}; return torch.float32 of shape "
        f"(images, {extractor.features}), as its attribute features says"
    )


def try_side(settings: NetworkSettings, side: int, channels: int) -> None:
    """``try_extractor`` on one that holds no values, so that its size costs no memory.

    For models of timm. What layers of one's own do without values nobody knows.
    """
    with torch.device("meta"):
        extractor = build_extractor(settings, channels)
    try_extractor(extractor, settings, side, channels)
