"""evaluate@k: the test metrics after step k."""

from der.core.files import SealedDirectory
from der.pipeline import environment, project
from der.pipeline.stage import Given, run_step
from der.settings.sections import EvaluateSettings


def run(step: int, given: Given) -> str:
    if project.is_unused(project.test_images(step)):
        return project.mark_unused("evaluate", step, project.evaluation(step))
    # Only now: what follows imports torch, which costs seconds.
    from der.data.arrays import load_memory, read_classes
    from der.evaluation.evaluate import evaluate_step, save_evaluation
    from der.model.checkpoint import check_classes, load_checkpoint
    from der.model.features import FrozenFeatures, read_records

    settings = given.section(EvaluateSettings, "evaluate")
    device = environment.set_up_device()
    given.load(device.type)
    steps = project.read_task(project.test_images(step), step)
    names = [name for classes in steps for name in classes]
    tests = read_classes(project.test_images(step), names)
    checkpoint = load_checkpoint(project.checkpoint(step))
    check_classes(project.checkpoint(step), checkpoint, steps)
    memory, features = load_memory(project.memory(step)), None
    if checkpoint.metadata.network.tuned == "none":
        known = read_records(project.features(project.test_images(step))).values()
        features = FrozenFeatures(checkpoint.network, checkpoint.metadata.normalization, device, known)
    with environment.computing(f"evaluate {step}", device):
        evaluation = evaluate_step(
            checkpoint,
            memory,
            tests,
            settings,
            device,
            checkpoint_bytes=SealedDirectory(project.checkpoint(step)).bytes(),
            memory_bytes=SealedDirectory(project.memory(step)).bytes(),
            features=features,
        )
    if environment.is_worker():
        return ""
    given.confirm()
    save_evaluation(project.evaluation(step), evaluation, names)
    return f"evaluate {step}: top-1 {evaluation.metrics['top1']:.2f} % over {len(names)} classes"


if __name__ == "__main__":
    run_step("evaluate", run)
