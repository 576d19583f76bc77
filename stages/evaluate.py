"""evaluate@k: the test metrics after step k."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from der.core.files import SealedDirectory
from der.data.arrays import load_memory, read_classes
from der.evaluation.evaluate import Evaluation, evaluate_step, first_features, save_evaluation
from der.model.architecture import MEANS, Outputs
from der.model.checkpoint import Metadata, check_classes, load_checkpoint, load_classifier
from der.model.records import KnownFeatures, read_records
from der.pipeline import environment, project
from der.pipeline.stage import Given, run_step
from der.settings.sections import EvaluateSettings


def run(step: int, given: Given) -> str:
    if project.is_unused(project.test_images(step)):
        return project.mark_unused("evaluate", step, project.evaluation(step))
    images, place = project.test_images(step), project.checkpoint(step)
    steps = project.read_task(images, step)
    names = [name for classes in steps for name in classes]
    tests, memory = read_classes(images, names), load_memory(project.memory(step))

    def judge(
        metadata: Metadata,
        outputs: Iterable[Outputs],
        means: NDArray[np.float32] | None = None,
        exemplars: list[NDArray[np.float32]] | None = None,
    ) -> Evaluation:
        check_classes(place, metadata, steps)
        settings, kept = given.section(EvaluateSettings, "evaluate"), project.memory(step)
        sizes = {"checkpoint_bytes": SealedDirectory(place), "memory_bytes": SealedDirectory(kept)}
        in_bytes = {name: directory.bytes() for name, directory in sizes.items()}
        return evaluate_step(
            metadata, memory, tests, outputs, settings, means_KD=means, exemplars=exemplars, **in_bytes
        )

    if not project.is_unused(project.features(images)):  # of a frozen network
        metadata, weight, bias = load_classifier(place)
        known = KnownFeatures(read_records(project.features(images)).values())
        means = SealedDirectory(place).read_array(MEANS)
        evaluation = judge(metadata, known.outputs(tests, weight, bias), means)
    else:
        from der.model.network import outputs_of  # only now: torch costs seconds

        device = environment.set_up_device()
        given.load(device.type)
        checkpoint = load_checkpoint(place)
        compute = outputs_of(checkpoint.network, checkpoint.metadata.normalization, device)
        first = checkpoint.network.extractors[0].features
        with environment.computing(f"evaluate {step}", device):
            exemplars = first_features(compute, memory, first)
            evaluation = judge(checkpoint.metadata, compute(tests), exemplars=exemplars)
        if environment.is_worker():
            return ""
    given.confirm()
    save_evaluation(project.evaluation(step), evaluation, names)
    top1, count = evaluation.metrics["top1"], evaluation.metrics["test_images"]
    return f"evaluate {step}: top-1 {top1:.2f} % of {count:,} test images of {len(names)} classes"


if __name__ == "__main__":
    run_step("evaluate", run)
