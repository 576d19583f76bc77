"""PyCIL's DER, from a checkout of https://github.com/LAMDA-CL/PyCIL, with what README.md lists exchanged.

Nothing of PyCIL's is copied here: its modules are imported, and names in them replaced.
"""

import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from bench.pycil.contenders import Contender, Epoch, Job, Step, Tell
from bench.pycil.images import Split, read_images
from bench.pycil.plans import Plan

PROTOTYPE_SIDE = 32  # pixels that PyCIL's CIFAR classes expect
REDUCTION = 4  # how many pixels of a side become one before the last pool


@dataclass
class Pycil:
    """The modules that are touched, and what is known of the step under way."""

    der: Any
    base: Any
    network: Any
    manager: Any
    data: Any
    resnet: Any
    linears: Any
    step: int = 0  # counted from 1
    images: int = 0  # of an epoch
    gamma: float | None = None  # of the newest weight alignment


def load_pycil(checkout: Path) -> Pycil:
    """Import from ``checkout``, which holds PyCIL's models, convs and utils."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    return Pycil(
        der=import_module("models.der"),
        base=import_module("models.base"),
        network=import_module("utils.inc_net"),
        manager=import_module("utils.data_manager"),
        data=import_module("utils.data"),
        resnet=import_module("convs.cifar_resnet"),
        linears=import_module("convs.linears"),
    )


def learn(checkout: Path, contender: Contender, job: Job, tell: Tell) -> None:
    """Learn the plan's steps, telling of every epoch and step."""
    pycil = load_pycil(checkout)
    exchange(pycil, contender, job.plan, job.directory, tell)
    torch.manual_seed(job.seed)
    np.random.seed(job.seed)  # noqa: NPY002  the generator that PyCIL uses
    manager = make_manager(pycil, job.plan)
    learner = make_learner(pycil, job.plan, job.device)
    for step in range(1, len(job.plan.new_classes) + 1):
        pycil.step = step
        learner.incremental_train(manager)
        accuracy, _ = learner.eval_task()
        learner.after_task()
        tell(Step(step, float(accuracy["top1"]), pycil.gamma))


def make_manager(pycil: Pycil, plan: Plan) -> Any:
    """PyCIL's data manager, of the images that ``exchange`` names, in the order they have there."""
    manager = pycil.manager.DataManager("cifar100", False, 0, plan.new_classes[0], plan.new_classes[0])
    manager._increments = list(plan.new_classes)
    return manager


def make_learner(pycil: Pycil, plan: Plan, device: str) -> Any:
    """PyCIL's DER before step 1."""
    return pycil.der.DER(
        {"convnet_type": "resnet32", "memory_size": plan.memory, "device": [torch.device(device)]}
    )


def exchange(pycil: Pycil, contender: Contender, plan: Plan, directory: Path, tell: Tell) -> None:
    """Replace what README.md lists."""
    multiprocessing.set_start_method("fork", force=True)  # PyCIL's time: each epoch starts its workers anew
    warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
    first, later = plan.weight_decay
    settings: dict[str, Any] = {
        "init_epoch": plan.epochs,
        "init_lr": plan.learning_rate,
        "init_milestones": list(plan.milestones),
        "init_weight_decay": first,
        "epochs": plan.epochs,
        "lrate": plan.learning_rate,
        "milestones": list(plan.milestones),
        "weight_decay": later,
        "batch_size": plan.batch_size,
        "num_workers": contender.workers,
        "tqdm": lambda epochs: _Clock(pycil, epochs, tell),
    }
    for name, value in settings.items():
        assert hasattr(pycil.der, name), f"PyCIL's models/der.py has no {name} any more"
        setattr(pycil.der, name, value)
    pycil.der.DataLoader = lambda dataset, **options: _load(pycil, dataset, options)
    pycil.base.DataLoader = lambda dataset, **options: DataLoader(dataset, **{**options, "num_workers": 0})
    pycil.network.print = lambda _, gamma: setattr(pycil, "gamma", float(gamma))
    pycil.manager._get_idata = lambda _: _make_images(pycil, plan, directory)
    if (plan.depth, plan.side) != (32, PROTOTYPE_SIDE):
        pycil.network.get_convnet = lambda *_: _make_extractor(pycil, plan)
    if contender.heads == "ours":
        pycil.linears.SimpleLinear.reset_parameters = _draw_as_ours


class _Clock:
    """In place of the progress bar around PyCIL's epochs: times them."""

    def __init__(self, pycil: Pycil, epochs: range, tell: Tell) -> None:
        self.pycil = pycil
        self.epochs = epochs
        self.tell = tell

    def __iter__(self) -> Iterator[int]:
        for epoch in self.epochs:
            begin = time.perf_counter()
            yield epoch
            self.tell(Epoch(self.pycil.step, epoch, time.perf_counter() - begin, self.pycil.images))

    def set_description(self, _: str) -> None:
        """Show nothing."""


def _load(pycil: Pycil, dataset: Any, options: dict[str, Any]) -> DataLoader[Any]:
    """The loader that PyCIL asks for; the images that are trained on are counted."""
    if options["shuffle"]:
        pycil.images = len(dataset)
    return DataLoader(dataset, **options)


def _make_images(pycil: Pycil, plan: Plan, directory: Path) -> Any:
    """A data set as PyCIL's iCIFAR100, all in memory, whose labels are in the order of teaching."""

    prototype: Any = pycil.data.iCIFAR100

    class Images(prototype):  # type: ignore[misc]
        class_order = range(sum(plan.new_classes))

        def download_data(self) -> None:
            splits: tuple[Split, Split] = ("train", "test")
            for split in splits:
                arrays = [read_images(directory, split, label) for label in self.class_order]
                setattr(self, f"{split}_data", np.concatenate(arrays))
                labels = np.repeat(self.class_order, [len(array) for array in arrays])
                setattr(self, f"{split}_targets", labels)

    if plan.side != PROTOTYPE_SIDE:
        crop, *others = Images.train_trsf
        assert isinstance(crop, transforms.RandomCrop)
        Images.train_trsf = [transforms.RandomCrop(plan.side, padding=plan.crop_padding), *others]
    return Images()


def _make_extractor(pycil: Pycil, plan: Plan) -> nn.Module:
    """PyCIL's ResNet for small images, of another depth and for other pixels."""
    extractor: nn.Module = pycil.resnet.CifarResNet(pycil.resnet.ResNetBasicblock, plan.depth)
    extractor.avgpool = nn.AvgPool2d(plan.side // REDUCTION)
    return extractor


def _draw_as_ours(layer: Any) -> None:
    """Weights and bias uniform in +-1/sqrt(features), instead of +-sqrt(3/features) and zero."""
    bound = layer.in_features**-0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.uniform_(layer.bias, -bound, bound)
