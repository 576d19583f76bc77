"""A function of docs/extending.md in a pipeline: its module belongs to the stages that run it alone."""

import numpy as np
from PIL import Image

from tests.examples.programs import modules
from tests.runs.lab import CLASSES, Pipeline, digests

SOURCE = "npz_file.py"


def pack_images(pipeline: Pipeline) -> None:
    """The images of the pipeline's folder as an .npz file beside it."""
    files = [
        file for name in CLASSES for file in sorted((pipeline.root / "data/images/train" / name).iterdir())
    ]
    images = np.stack([np.asarray(Image.open(file)) for file in files])
    np.savez(
        pipeline.root / "data/images/mine.npz", images=images, labels=[file.parent.name for file in files]
    )


def test_an_edit_of_a_source_runs_what_it_reaches(pipeline: Pipeline) -> None:
    pack_images(pipeline)
    before = digests(pipeline.root, ["data/raw"])
    module = pipeline.root / "src" / SOURCE
    module.write_text(modules()[SOURCE], encoding="utf-8")
    pipeline.edit(dataset__source="npz_file:npz", dataset__path="data/images/mine.npz")
    # The images are those of the folder: nothing is reached but the summary, which looks for the source's
    # published results, and the page, which shows the parameters.
    assert pipeline.repro().run == ["check", "download", "summarize", "report"]
    assert digests(pipeline.root, ["data/raw"]) == before
    pipeline.rewrite(f"src/{SOURCE}", "# sorted$", "# in order")
    assert pipeline.repro().run == ["check"]
    pipeline.rewrite(f"src/{SOURCE}", r"np\.unique\(labels\)", "sorted(set(labels))")
    assert pipeline.repro().run == ["check", "download"]
    assert digests(pipeline.root, ["data/raw"]) == before

    # Its classes are known now, so that a wrong one is refused before anything is removed.
    pipeline.edit(protocol__steps=[["ant", "bee"], ["cta"]])
    results = pipeline.results()
    done = pipeline.command("dvc", "repro")
    assert "error: params.yaml: protocol.steps: 'cta' is no class of the data set; it has ant" in done.stderr
    assert pipeline.results() == results
