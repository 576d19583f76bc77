"""evaluate@k: the test metrics after step k."""

from der.core.sealed import SealedDirectory
from der.pipeline import paths
from der.pipeline.environment import is_worker, set_up_device
from der.pipeline.launch import computing
from der.pipeline.params import load_section
from der.pipeline.paths import is_unused, mark_unused, read_task
from der.pipeline.stage import Given, run_step
from der.settings.sections import EvaluateSettings


def run(step: int, given: Given) -> str:
    if is_unused(paths.test_images(step)):
        return mark_unused("evaluate", step, paths.evaluation(step))
    # Only now: what follows imports torch, which costs seconds.
    from der.data.arrays import load_memory, read_classes
    from der.evaluation.evaluate import evaluate_step, save_evaluation
    from der.model.checkpoint import check_classes, load_checkpoint

    settings = load_section(EvaluateSettings, "evaluate")
    device = set_up_device()
    given.load(device.type)
    steps = read_task(paths.test_images(step), step)
    names = [name for classes in steps for name in classes]
    tests = read_classes(paths.test_images(step), names)
    checkpoint = load_checkpoint(paths.checkpoint(step))
    check_classes(paths.checkpoint(step), checkpoint, steps)
    memory = load_memory(paths.memory(step))
    with computing(f"evaluate {step}", device):
        evaluation = evaluate_step(
            checkpoint,
            memory,
            tests,
            settings,
            device,
            checkpoint_bytes=SealedDirectory(paths.checkpoint(step)).bytes(),
            memory_bytes=SealedDirectory(paths.memory(step)).bytes(),
        )
    if is_worker():
        return ""
    given.confirm()
    save_evaluation(paths.evaluation(step), evaluation, names)
    return f"evaluate {step}: top-1 {evaluation.metrics['top1']:.2f} % over {len(names)} classes"


if __name__ == "__main__":
    run_step("evaluate", run)
