"""A rebalancing, which may be anyone's, held to what a checkpoint relies on."""

import hashlib
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from der.core.errors import UserError
from der.core.registry import look_up
from der.model.network import Network
from der.train.log import EpochRecord
from der.train.rebalancing.registry import REBALANCINGS, Rebalanced, Rebalancing
from der.train.step_run import StepRun
from der.train.training_images import TrainingImages


def find_rebalancing(name: str) -> Rebalancing:
    """The rebalancing of that name; raises UserError if there is none.

    When called it raises UserError, naming it, for a result that is not as ``Rebalancing`` says.
    """
    return partial(_rebalance, look_up(REBALANCINGS, name, "train.incremental.rebalancing"), name)


def _rebalance(
    function: Rebalancing, name: str, run: StepRun, network: Network, images: TrainingImages
) -> Rebalanced:
    head, shape = network.head, network.head.weight.shape
    before = digest(network.extractors)
    returned: object = function(run, network, images)
    if not isinstance(returned, Rebalanced) or not _are_records(returned.records):
        fault = f"returns {type(returned).__name__}; return Rebalanced([]), or with the epochs it took"
    elif network.head is not head or head.weight.shape != shape:
        fault = "puts another classifier into the network; change its weights in place"
    elif digest(network.extractors) != before:
        fault = "changes an extractor; change the classifier alone"
    else:
        return returned
    raise UserError(f"train.incremental.rebalancing: {name} {fault}")


def _are_records(records: object) -> bool:
    return isinstance(records, list) and all(isinstance(one, EpochRecord) for one in records)


def digest(modules: Sequence[nn.Module]) -> bytes:
    """The hash of all parameters and buffers: milliseconds for every hundred megabytes."""
    found = hashlib.blake2b()
    for module in modules:
        for value in module.state_dict().values():
            found.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy())
    return found.digest()
