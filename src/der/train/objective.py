"""The losses that the phases of a step minimise, and the channel masks of representation learning.

# B batch, C classes seen, D features of the new extractor, P features of the frozen ones
"""

from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from der.model.architecture import Shape
from der.model.kernels.layers import ConvNorm
from der.model.resnet import BasicBlock, PadShortcut, ResNet
from der.settings.sections import DistillationSettings, MaskSettings

LIMIT = 6.0  # of |e|, as in HAT (Serra et al. 2018, section 2.5)
TEMPERATURE = 2.0  # of distilled logits, as in TCIL's code


class Compensated(torch.autograd.Function):
    """m = sigmoid(s e), with the gradient compensation of section 3.3; g_m is the mean over the layers.

    g'_e = sigmoid'(e) / (s sigmoid'(s e)) g_e; and g_e = s sigmoid'(s e) g_m, so g'_e = sigmoid'(e) g_m.
    """

    @staticmethod
    def forward(ctx: Any, e: Tensor, sharpness: Tensor, layers: Tensor) -> Tensor:
        ctx.save_for_backward(e, layers)
        return torch.sigmoid(sharpness * e)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        e, layers = ctx.saved_tensors
        soft = torch.sigmoid(e)
        return gradient / layers * soft * (1 - soft), None, None


class Weights(NamedTuple):
    """The weights of a layer, for the sparsity loss."""

    area: int  # of the kernel
    inputs: int | None  # group of the input's channels; None: the image's
    outputs: int  # group of the output's channels


class ChannelMasks(nn.Module):
    """The masks of one extractor (section 3.3); they learn one e per channel, all groups in a row.

    A mask acts after batch normalisation: before it, the normalisation would turn a zeroed channel into its
    bias. All layers that add to one residual stream share a mask, so that pruning is consistent; the first
    convolution of each block has its own mask. A shared mask learns from the mean of its layers' gradients:
    with their sum it would learn faster than the others, and streams would lose their channels first.
    """

    def __init__(self, extractor: ResNet, settings: MaskSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings, self.image_channels = settings, extractor.stem.conv.in_channels
        self.gated: list[list[ConvNorm | PadShortcut]] = []  # what each group gates
        self.weights: list[Weights] = []
        self.sizes: list[int] = []
        self.stream_groups: list[int] = []
        self.inner_groups: list[list[int]] = []
        self._collect(extractor)
        self.bounds = list(pairwise(accumulate(self.sizes, initial=0)))
        layers = torch.tensor([len(group) for group in self.gated], dtype=torch.float32)
        self.layers: Tensor  # that each channel's mask gates
        self.register_buffer("layers", layers.repeat_interleave(torch.tensor(self.sizes)), persistent=False)
        drawn = torch.empty(sum(self.sizes)).normal_(generator=generator)
        self.e = nn.Parameter(settings.start_mean + settings.start_deviation * drawn)
        self.clamp()

    def _group(self, size: int) -> int:
        self.sizes.append(size)
        self.gated.append([])
        return len(self.sizes) - 1

    def _gate(self, layer: ConvNorm, inputs: int | None, outputs: int) -> None:
        self.gated[outputs].append(layer)
        self.weights.append(Weights(layer.conv.kernel_size[0] ** 2, inputs, outputs))

    def _collect(self, extractor: ResNet) -> None:
        stream = self._group(extractor.stem.conv.out_channels)
        self._gate(extractor.stem, None, stream)
        for index, stage in enumerate(extractor.stages):
            before = stream
            if index:
                stream = self._group(len(extractor.shape.streams[index]))
            self.stream_groups.append(stream)
            self.inner_groups.append([])
            for block in stage.children():
                assert isinstance(block, BasicBlock)
                inner = self._group(block.first.conv.out_channels)
                self.inner_groups[-1].append(inner)
                self._gate(block.first, before, inner)
                self._gate(block.second, inner, stream)
                if isinstance(block.shortcut, ConvNorm):
                    self._gate(block.shortcut, before, stream)
                elif isinstance(block.shortcut, PadShortcut):
                    self.gated[stream].append(block.shortcut)
                before = stream

    def sharpen(self, position: Tensor) -> Tensor:
        """Set every layer's gate for a batch; ``position`` goes from 0 to 1 over an epoch.

        s = 1/s_max + (s_max - 1/s_max) position (section 3.3). Returns the sparsity loss.
        """
        top = self.settings.sharpness
        gates = Compensated.apply(self.e, 1 / top + (top - 1 / top) * position, self.layers)
        self._set(gates)
        return self.sparsity(gates)

    def sparsity(self, gates: Tensor) -> Tensor:
        """Compute L_S, the share of weights in use: sum K |m_in| |m_out| / sum K c_in c_out (section 3.3).

        ``gates`` holds the masks of all groups in a row; |m| of the image is its number of channels.
        """
        used, image = [gates[low:high].sum() for low, high in self.bounds], self.image_channels
        part, whole = torch.zeros_like(used[0]), 0
        for area, inputs, outputs in self.weights:
            part = part + area * used[outputs] * (image if inputs is None else used[inputs])
            whole += area * self.sizes[outputs] * (image if inputs is None else self.sizes[inputs])
        return part / whole

    @torch.no_grad()
    def clamp(self) -> None:
        """Clamp e to the range where the compensated gradient does not vanish."""
        self.e.clamp_(-LIMIT, LIMIT)

    @torch.no_grad()
    def harden(self) -> None:
        """Set every gate to 0 or 1, as at s = s_max; a group keeps at least its largest."""
        self._set(torch.cat(self._hard()))

    def _hard(self) -> list[Tensor]:
        masks = []
        for low, high in self.bounds:
            group = self.e[low:high]
            hard = group > 0
            if not hard.any():
                hard[group.argmax()] = True  # one, though clamping makes equals
            masks.append(hard.float())
        return masks

    def shape(self) -> Shape:
        kept = [torch.nonzero(hard)[:, 0].tolist() for hard in self._hard()]
        streams = [kept[group] for group in self.stream_groups]
        return Shape(streams, [[kept[group] for group in stage] for stage in self.inner_groups])

    def release(self) -> None:
        self._set(None)

    def _set(self, gates: Tensor | None) -> None:
        for (low, high), group in zip(self.bounds, self.gated, strict=True):
            for layer in group:
                layer.gate = None if gates is None else gates[low:high]


class Loss(NamedTuple):
    """Means over a batch, as scalars on the device."""

    total: Tensor  # what is minimised
    auxiliary: Tensor  # unweighted
    correct: Tensor  # fraction of images whose largest logit is their class


def cross_entropy(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Compute the mean over the batch; 0 without images, which one of several ranks may have."""
    return F.cross_entropy(logits_BC, labels_B, reduction="mean" if len(labels_B) else "sum")


def share_correct(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Compute the fraction of images whose largest logit is their class; 0 without images."""
    if labels_B.dim() == 2:
        labels_B = labels_B.argmax(1)
    hits_B = (logits_BC.argmax(1) == labels_B).float()
    return hits_B.mean() if len(hits_B) else hits_B.sum()


def merge_old(labels_B: Tensor, old_classes: int) -> Tensor:
    """Make one class, of label 0, of the old ones; the step's new class of index j gets label j + 1."""
    if labels_B.dim() == 1:
        return (labels_B - old_classes + 1).clamp(min=0)
    return torch.cat([labels_B[:, :old_classes].sum(1, keepdim=True), labels_B[:, old_classes:]], dim=1)


class Distillation(nn.Module):
    """What the new network learns from the previous one, at two levels (TCIL: Huang et al. 2023).

    That is the paper's multi-level knowledge distillation, with what its code has as "MTKD"
    (github.com/YellowPancake/TCIL, inclearn/models/incmodel.py), for batches whose frozen features are known:

        features * mean_x [x is of an old class] sum_k mean_d (F_t(x)_d - F_k(x)_d)^2, k < t
        logits * T^2 mean_x KL(softmax(H_{t-1}(x) / T) || softmax(H_t(x)_old / T)), T = 2

    The first compares each channel of the new extractor with the same channel of every frozen one, where
    that was not pruned; the second compares scores for old classes, of all images, with those of the
    previous classifier as its checkpoint has it. Only F_t and H_t learn. The code's weights are 0.5 and 0.5.
    It differs in the first term: it also compares maps before pooling, takes the mean over old images alone,
    which several processes could not add up, and lets the weight rise over 50 epochs.
    """

    weight: Tensor
    bias: Tensor | None
    same_PD: Tensor
    share_P: Tensor

    def __init__(
        self, settings: DistillationSettings, head: nn.Linear, channels: list[list[int]], features: int
    ) -> None:
        """Distil from the previous ``head``; ``channels`` are those that each frozen extractor has."""
        super().__init__()
        self.settings = settings
        self.old_classes = head.out_features
        buffers = {
            "weight": head.weight.detach(),
            "bias": None if head.bias is None else head.bias.detach(),
            # As a product, because a captured step has no deterministic gradient of an indexing.
            "same_PD": torch.eye(features)[[*chain(*channels)]],
            "share_P": torch.tensor([1 / len(own) for own in channels for _ in own]),
        }
        for name, values in buffers.items():
            self.register_buffer(name, values, persistent=False)

    def forward(self, features_BD: Tensor, logits_BC: Tensor, frozen_BP: Tensor, labels_B: Tensor) -> Tensor:
        """Compute both terms, weighted; 0 without images, which one of several ranks may have."""
        total = torch.zeros((), device=frozen_BP.device)
        if self.settings.features:
            gaps_BP = F.linear(features_BD, self.same_PD) - frozen_BP
            old_B = merge_old(labels_B, self.old_classes)
            is_old_B = old_B[:, 0] if old_B.dim() == 2 else (old_B == 0).float()
            total = total + self.settings.features * (is_old_B @ gaps_BP.square() @ self.share_P)
        if self.settings.logits:
            known_BO = F.linear(frozen_BP, self.weight, self.bias) / TEMPERATURE
            learned_BO = (logits_BC[:, : self.old_classes] / TEMPERATURE).log_softmax(1)
            divergence = F.kl_div(learned_BO, known_BO.softmax(1), reduction="sum")
            total = total + self.settings.logits * TEMPERATURE**2 * divergence
        return total / max(1, len(labels_B))


class RepresentationObjective(nn.Module):
    """L = CE(H_t(u), y) + lambda_a CE(H^a_t(F_t(x)), y_aux) [+ lambda_s L_S] (DER, sections 3.2 and 3.3).

    It trains the new extractor, the whole classifier and the auxiliary classifier; the frozen extractors'
    features are inputs. The new extractor computes in the dtype of the images; the classifiers and their
    losses stay in float32.
    """

    def __init__(
        self,
        extractor: nn.Module,
        head: nn.Linear,
        auxiliary: nn.Linear,
        auxiliary_weight: float,
        masks: ChannelMasks | None,
        distillation: Distillation | None = None,
    ) -> None:
        super().__init__()
        self.extractor, self.masks, self.head = extractor, masks, head
        self.auxiliary, self.auxiliary_weight, self.distillation = auxiliary, auxiliary_weight, distillation
        self.old_classes = head.out_features - (auxiliary.out_features - 1)

    def forward(self, images_BCHW: Tensor, frozen_BP: Tensor, labels_B: Tensor, position: Tensor) -> Loss:
        """Compute the loss of normalised images, their frozen features and labels over all classes seen.

        ``position`` is the batch's place in its epoch, from 0 to 1; it sharpens the masks.
        """
        sparsity = None if self.masks is None else self.masks.sharpen(position)
        features_BD = self.extractor(images_BCHW)
        logits_BC = self.head(torch.cat([frozen_BP, features_BD], dim=1))
        total = cross_entropy(logits_BC, labels_B)
        auxiliary = torch.zeros_like(total)
        if self.auxiliary_weight:
            auxiliary = cross_entropy(self.auxiliary(features_BD), merge_old(labels_B, self.old_classes))
            total = total + self.auxiliary_weight * auxiliary
        if self.distillation is not None:
            total = total + self.distillation(features_BD, logits_BC, frozen_BP, labels_B)
        if self.masks is not None and sparsity is not None:
            total = total + self.masks.settings.sparsity_weight * sparsity
        return Loss(total, auxiliary.detach(), share_correct(logits_BC, labels_B))


class ClassifierObjective(nn.Module):
    """CE(H_t(u) / temperature, y) with all extractors frozen (DER, section 3.4)."""

    def __init__(self, head: nn.Linear, temperature: float) -> None:
        super().__init__()
        self.head, self.temperature = head, temperature

    def forward(self, images_BCHW: Tensor, frozen_BP: Tensor, labels_B: Tensor, position: Tensor) -> Loss:
        """Compute the loss of super-features (B, P) and labels over all classes seen, without images."""
        logits_BC = self.head(frozen_BP) / self.temperature
        total = cross_entropy(logits_BC, labels_B)
        return Loss(total, torch.zeros_like(total), share_correct(logits_BC, labels_B))
