"""A trained network as one module from bytes to probabilities, to be exported.

# B batch, H and W pixels, C channels, K classes seen
"""

import torch
from torch import Tensor, nn

from der.model.kernels.folding import fold_batchnorm
from der.model.network import Network
from der.model.pixel_statistics import Normalization
from der.model.preprocessing import Normalize


class ExportableNetwork(nn.Module):
    """Normalisation, all extractors with folded batch normalisation, classifier and softmax."""

    def __init__(self, network: Network, normalization: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normalization)
        self.network = Network([fold_batchnorm(one) for one in network.extractors], network.head)
        self.requires_grad_(False).eval()
        # As loaded from disk, not as training leaves it; torch.export warns of other formats.
        self.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities (B, K) float32 of images (B, H, W, C) uint8."""
        logits_BK: Tensor = self.network(self.normalize(images.permute(0, 3, 1, 2)))
        return logits_BK.softmax(dim=1)
