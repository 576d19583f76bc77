"""What the network asks of a feature extractor."""

from typing import cast

from torch import nn

from der.core.errors import UserError


class Extractor(nn.Module):
    """Normalised images (B, C, H, W) to features (B, D).

    Any module will do that has these members, of this class or not:
    - ``forward``: images in the dtype that train.precision names, to features (B, D) in float32;
    - ``features``: D, a whole number.
    Its parameters, and those of its buffers that count anything but batches, are float32.
    """

    features: int


def as_extractor(module: object, backbone: str) -> Extractor:
    """``module`` as what it is; raises UserError, naming ``backbone``, if it tells no number of features."""
    if not isinstance(module, nn.Module):
        raise UserError(
            f"network.backbone: {backbone} builds {type(module).__name__}; build a torch.nn.Module"
        )
    features = getattr(module, "features", None)
    if not isinstance(features, int) or features < 1:
        raise UserError(
            f"network.backbone: {backbone} builds a module whose features are {features!r}; "
            "give it the number of them"
        )
    return cast(Extractor, module)
