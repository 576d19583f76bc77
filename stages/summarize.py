"""summarize: all steps together, as one metrics file, tables and plots."""

from der.pipeline import project
from der.pipeline.inputs import RunImages
from der.pipeline.runs import joint_accuracy, published_curves, read_steps
from der.pipeline.stage import Given, run_stage
from der.report.charts import write_summary
from der.settings.sections import DatasetSettings, ProtocolSettings


def run(given: Given) -> str:
    steps = read_steps()
    logs = [project.training(step) for step in range(1, len(steps) + 1)]
    images = RunImages(given.section(DatasetSettings, "dataset").source)
    published = published_curves(images, given.section(ProtocolSettings, "protocol"))
    joint, own = joint_accuracy(images, steps[-1]["classes"]), (steps, project.evaluation(len(steps)), logs)
    summary = write_summary(*own, project.SUMMARY, project.PLOTS, published=published, joint=joint)
    return (
        f"summarize: {len(steps)} steps, average incremental accuracy {summary['average_top1']:.2f} %, "
        f"last {summary['last_top1']:.2f} %"
    )


if __name__ == "__main__":
    run_stage("summarize", run)
