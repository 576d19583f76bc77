"""build_memory@k: the exemplars and class means after step k."""

from der.core.files import SealedDirectory
from der.data.arrays import load_memory, read_classes, save_memory
from der.pipeline import environment, project
from der.pipeline.stage import Given, run_step
from der.settings.sections import MemorySettings
from der.train.resume import remove_finished


def run(step: int, given: Given) -> str:
    if project.is_unused(project.train_images(step)):
        return project.mark_unused("build_memory", step, project.memory(step))
    # Only now: what follows imports torch, which costs seconds.
    from der.memory import Features, build_memory
    from der.model.checkpoint import check_classes, load_checkpoint
    from der.model.features import FrozenFeatures, read_records
    from der.model.network import features_of

    settings = given.section(MemorySettings, "memory")
    device = environment.set_up_device()
    given.load(device.type)
    steps = project.read_task(project.train_images(step), step)
    checkpoint = load_checkpoint(project.checkpoint(step))
    check_classes(project.checkpoint(step), checkpoint, steps)
    new_classes = read_classes(project.train_images(step), steps[-1])
    metadata, network = checkpoint.metadata, checkpoint.network
    with environment.computing(f"build_memory {step}", device):
        if metadata.network.tuned == "none":
            known = read_records(project.features(project.train_images(step))).values()
            features: Features = FrozenFeatures(network, metadata.normalization, device, known)
        else:
            features = features_of(network, metadata.normalization, device)
        memory = build_memory(load_memory(project.memory(step - 1)), new_classes, settings, features)
    if environment.is_worker():
        return ""
    given.confirm()
    save_memory(project.memory(step), memory)
    remove_finished(environment.scratch_root(), SealedDirectory(project.checkpoint(step)).digest)
    return f"build_memory {step}: {len(memory.labels)} exemplars of {len(memory.class_means)} classes"


if __name__ == "__main__":
    run_step("build_memory", run)
