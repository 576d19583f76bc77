"""evaluate@k: the test metrics after step k."""

from der.common.filesystem import directory_bytes
from der.common.serialization import write_json
from der.project import paths
from der.project.environment import set_up_device
from der.project.markers import mark_unused
from der.project.params import load_section
from der.project.running_code import RunningCode
from der.project.stage import run_step
from der.project.tasks import is_unused, read_task
from der.settings.evaluation import EvaluateSettings


def run(step: int, code: RunningCode) -> str:
    outputs = (paths.step_metrics(step), paths.confusion(step), paths.mistakes(step))
    if is_unused(step):
        return mark_unused("evaluate", step, *outputs)
    # Only now: what follows imports torch, which costs seconds.
    from der.data.class_arrays import read_classes
    from der.data.exemplars import load_memory
    from der.evaluation.confusion import write_confusion
    from der.evaluation.evaluate import evaluate_step
    from der.evaluation.mistakes import save_mistakes
    from der.model.checkpoint import check_classes, load_checkpoint

    settings = load_section(EvaluateSettings, "evaluate")
    device = set_up_device()
    code.load(device.type)
    steps = read_task(step)
    names = [name for classes in steps for name in classes]
    tests = read_classes(paths.task(step) / "test", names)
    checkpoint = load_checkpoint(paths.checkpoint(step))
    check_classes(paths.checkpoint(step), checkpoint, steps)
    memory = load_memory(paths.memory(step))
    evaluation = evaluate_step(
        checkpoint,
        memory,
        tests,
        settings,
        device,
        checkpoint_bytes=directory_bytes(paths.checkpoint(step)),
        memory_bytes=directory_bytes(paths.memory(step)),
    )
    code.confirm()
    write_json(paths.step_metrics(step), evaluation.metrics)
    write_confusion(paths.confusion(step), evaluation.confusion, names)
    save_mistakes(paths.mistakes(step), evaluation.mistakes)
    return f"evaluate {step}: top-1 {evaluation.metrics['top1']:.2f} % over {len(names)} classes"


if __name__ == "__main__":
    run_step("evaluate", run)
