"""Other rebalancings of the same extractors: a rebalancing that keeps their classifiers aside.

Give ``NAME`` as train.incremental.rebalancing; the step then ends with weight alignment, as in the recipes of
the digits and of the notebook, and ``heads`` has the classifiers of the others.
"""

import copy
import dataclasses
import time
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from der.model.network import Network
from der.train.batches import TrainingImages
from der.train.engine import StepRun
from der.train.step import Rebalanced, find_rebalancing

OWN, OTHERS = "weight_alignment", ("none", "classifier_learning", "logistic", "lda")


class Head(NamedTuple):
    weight: NDArray[np.float32]  # (classes, features)
    bias: NDArray[np.float32]
    seconds: float  # that a core was busy with it

    def top1(
        self, features: NDArray[np.float32], labels: NDArray[np.int64], classes: NDArray[np.int64]
    ) -> float:
        """The share of features (N, D) that get their labels (N,); ``classes`` are the labels in order."""
        return float(np.mean(classes[(features @ self.weight.T + self.bias).argmax(axis=1)] == labels))


heads: dict[str, Head] = {}  # of the newest step, by rebalancing; empty after step 1


def rebalance(run: StepRun, network: Network, images: TrainingImages) -> Rebalanced:
    for name in OTHERS:
        own, busy = copy.deepcopy(network), time.process_time()
        incremental = replace(run.settings.incremental, rebalancing=name)
        named = dataclasses.replace(run, settings=replace(run.settings, incremental=incremental))
        find_rebalancing(name)(named, own, images)
        weight, bias = (one.detach().numpy() for one in (own.head.weight, own.head.bias))
        heads[name] = Head(weight, bias, time.process_time() - busy)
    return find_rebalancing(OWN)(run, network, images)


NAME = f"{__name__}:{rebalance.__name__}"
