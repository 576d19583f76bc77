"""Architectures of residual extractors, and the channels that a pruned one keeps; without torch."""

from dataclasses import dataclass
from itertools import chain

from der.core.errors import UserError
from der.settings.sections import NetworkSettings

BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}  # by depth: of each stage (He et al. 2016, table 1)


@dataclass(frozen=True)
class Shape:
    """The channels an extractor keeps, as sorted indices of the unpruned architecture's channels.

    All layers that add to one residual stream keep the same channels.
    """

    streams: list[list[int]]  # of each stage's residual stream
    inner: list[list[list[int]]]  # of the first convolution of each block, by stage


def keeps_part_of(shape: Shape, whole: Shape) -> bool:
    """Whether ``shape`` has all stages and blocks of ``whole``, and sorted channels of each."""
    if [len(shape.streams), *map(len, shape.inner)] != [len(whole.streams), *map(len, whole.inner)]:
        return False
    kept, every = ([*one.streams, *chain.from_iterable(one.inner)] for one in (shape, whole))
    return all(some and some == sorted(set(some) & set(full)) for some, full in zip(kept, every, strict=True))


@dataclass(frozen=True)
class Architecture:
    """An unpruned extractor, apart from its number of input channels."""

    widths: list[int]  # channels of each stage
    blocks: list[int]  # blocks of each stage
    large_stem: bool  # 7x7 with stride 2 and max-pool, for large images, instead of 3x3
    learned_shortcuts: bool  # 1x1 convolutions (option B) instead of zeros (option A)
    zero_blocks: bool  # the last normalisation of each block starts at zero, so that a block is its shortcut

    def full_shape(self) -> Shape:
        """The shape that keeps every channel."""
        inner = [
            [list(range(width)) for _ in range(blocks)]
            for width, blocks in zip(self.widths, self.blocks, strict=True)
        ]
        return Shape([list(range(width)) for width in self.widths], inner)


def plan_cifar_resnet(settings: NetworkSettings) -> Architecture:
    """The residual networks for small images of He et al. 2016, section 4.2.

    Raises UserError, the key first, for settings that name none of them.
    """
    if (settings.depth - 2) % 6:
        raise UserError(f"depth: {settings.depth} is not 6n + 2; write 8, 14, 20, 26, 32, 44, 56 or 110")
    if settings.stem == "large":
        raise UserError("stem: large goes with backbone resnet; write small")
    blocks = [(settings.depth - 2) // 6] * 3
    return Architecture([16, 32, 64], blocks, large_stem=False, learned_shortcuts=False, zero_blocks=False)


def plan_resnet(settings: NetworkSettings) -> Architecture:
    """The residual networks of basic blocks of He et al. 2016, table 1.

    A block starts as its shortcut (Goyal et al. 2017, section 5.1; the authors' code). Raises UserError, the
    key first, for settings that name none of them.
    """
    if settings.depth not in BLOCKS:
        raise UserError(f"depth: {settings.depth} is no depth of backbone resnet; write 18 or 34")
    large = settings.stem == "large"
    widths = [64, 128, 256, 512]
    return Architecture(
        widths, BLOCKS[settings.depth], large_stem=large, learned_shortcuts=True, zero_blocks=True
    )
