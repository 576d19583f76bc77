"""The settings as keywords of the classifier; `python -m tools.settings` writes this file."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

class Changes(TypedDict, total=False):
    """Values of the settings by keyword, with two underscores for each dot."""

    dataset__image_side: int | None
    network: Mapping[str, Any]
    network__backbone: str
    network__depth: int
    network__stem: Literal["small", "large"]
    network__head_bias: bool
    network__head_initialization: str
    network__inherit_head: bool
    network__expansion: bool
    network__mean: Sequence[float] | None
    network__std: Sequence[float] | None
    network__weights: str | None
    network__tuned: Literal["all", "last", "none"]
    train: Mapping[str, Any]
    train__seed: int
    train__precision: Literal["float32", "bfloat16"]
    train__augmentation: Mapping[str, Any]
    train__augmentation__resized_crop: Sequence[float] | None
    train__augmentation__crop_padding: int
    train__augmentation__horizontal_flip: bool
    train__augmentation__brightness: float
    train__augmentation__policy: Literal["autoaugment", "trivial"] | None
    train__augmentation__cutout: int
    train__augmentation__cutmix: float
    train__masks: Mapping[str, Any] | None
    train__masks__sparsity_weight: float
    train__masks__sharpness: float
    train__masks__rate_factor: float
    train__masks__start_mean: float
    train__masks__start_deviation: float
    train__base: Mapping[str, Any]
    train__base__epochs: int
    train__base__learning_rate: float
    train__base__milestones: Sequence[int]
    train__base__decay: float
    train__base__weight_decay: float
    train__base__momentum: float
    train__base__batch_size: int
    train__base__warmup_epochs: int
    train__base__reinitialize_heads: bool
    train__incremental: Mapping[str, Any]
    train__incremental__epochs: int
    train__incremental__learning_rate: float
    train__incremental__milestones: Sequence[int]
    train__incremental__decay: float
    train__incremental__weight_decay: float
    train__incremental__momentum: float
    train__incremental__batch_size: int
    train__incremental__warmup_epochs: int
    train__incremental__reinitialize_heads: bool
    train__incremental__auxiliary_weight: float
    train__incremental__rebalancing: str
    train__incremental__classifier: Mapping[str, Any]
    train__incremental__classifier__epochs: int
    train__incremental__classifier__learning_rate: float
    train__incremental__classifier__milestones: Sequence[int]
    train__incremental__classifier__decay: float
    train__incremental__classifier__weight_decay: float
    train__incremental__classifier__momentum: float
    train__incremental__classifier__batch_size: int
    train__incremental__classifier__warmup_epochs: int
    train__incremental__classifier__temperature: float
    train__incremental__distillation: Mapping[str, Any]
    train__incremental__distillation__features: float
    train__incremental__distillation__logits: float
    train__averaging: float | None
    train__classifier: Literal["auto", "logistic", "lda"]
    train__shrinkage: float | None
    memory: Mapping[str, Any]
    memory__budget: int
    memory__allocation: Literal["total", "per_class"]
    memory__selection: str
    memory__seed: int
    evaluate: Mapping[str, Any]
    evaluate__group_labels: int
    compress: Mapping[str, Any]
    compress__steps: Literal["last", "all"] | None
    compress__epochs: int
    compress__learning_rate: float
    compress__batch_size: int
    compress__temperature: float
    compress__beta: float
