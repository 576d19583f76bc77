"""build_memory@k: the exemplars and class means after step k."""

from der.core.files import SealedDirectory
from der.data.arrays import load_memory, read_step, save_memory
from der.memory import build_memory
from der.model.checkpoint import check_classes, load_checkpoint
from der.model.records import KnownFeatures, read_records
from der.pipeline import environment, project
from der.pipeline.stage import Given, run_step
from der.settings.sections import MemorySettings
from der.train.resume import remove_finished


def run(step: int, given: Given) -> str:
    if project.is_unused(project.train_images(step)):
        return project.mark_unused("build_memory", step, project.memory(step))
    images, settings = project.train_images(step), given.section(MemorySettings, "memory")
    steps, before = project.read_task(images, step), load_memory(project.memory(step - 1))
    more, new_classes = read_step(images, steps)
    if not project.is_unused(project.features(images)):  # of a frozen network
        known = KnownFeatures(read_records(project.features(images)).values())
        memory = build_memory(before, new_classes, settings, known, more)
    else:
        from der.model.network import features_of  # only now: it imports torch, which costs seconds

        device = environment.set_up_device()
        given.load(device.type)
        checkpoint = load_checkpoint(project.checkpoint(step))
        check_classes(project.checkpoint(step), checkpoint.metadata, steps)
        with environment.computing(f"build_memory {step}", device):
            features = features_of(checkpoint.network, checkpoint.metadata.normalization, device)
            memory = build_memory(before, new_classes, settings, features, more)
        if environment.is_worker():
            return ""
    given.confirm()
    save_memory(project.memory(step), memory)
    remove_finished(environment.scratch_root(), SealedDirectory(project.checkpoint(step)).digest)
    return f"build_memory {step}: {len(memory.labels)} exemplars of {len(memory.class_means)} classes"


if __name__ == "__main__":
    run_step("build_memory", run)
