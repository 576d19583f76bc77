"""`python -m bench.photos.unknown FOLDER...`: how well preset photos tells images of unknown classes.

Each folder has train/<class>/* and test/<class>/*, see bench.photos.simple. "near" leaves out each of some
classes in turn, and tells its test images from those of the others; "far" tells the test images of the other
folders from its own. AUROC is the probability that a known image is more familiar than an unknown one.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bench.photos.simple import Features, compute, draw, make_parser, read_folder
from bench.results_file import describe_processor
from der.model.architecture import Outputs
from der.train.convex import fit_classifier

RESULTS = Path("bench/results/photos/unknown.json")
LEFT_OUT = 4  # classes of a folder, at most


def familiarity(classes: Sequence[Features], seen: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Return the familiarity of each image, and the least one that counts as known."""
    fitted, _ = fit_classifier(classes, "auto", None)
    assert fitted.familiarity is not None
    outputs = Outputs(seen, seen @ fitted.weight_KP.T + fitted.bias_K)
    return fitted.familiarity.score(outputs, fitted.means_KP), fitted.familiarity.least


def auroc(known: NDArray[np.float64], unknown: NDArray[np.float64]) -> float:
    labels = np.repeat([1, 0], [len(known), len(unknown)])
    return float(roc_auc_score(labels, np.concatenate([known, unknown])))


def measure(
    train: Sequence[Features], tests: Sequence[Features], others: NDArray[np.float32], count: int
) -> dict[str, float]:
    """Return the AUROCs, and the percent of known and of other images that are taken for known."""
    drawn = draw(train, count, count)
    plain, near = [one[:, 0] for one in tests], []
    for label in range(0, len(drawn), -(-len(drawn) // LEFT_OUT)):
        rest = [number for number in range(len(drawn)) if number != label]
        known = np.concatenate([plain[number] for number in rest])
        scores, _ = familiarity([drawn[number] for number in rest], np.concatenate([known, plain[label]]))
        near.append(auroc(scores[: len(known)], scores[len(known) :]))
    known = np.concatenate(plain)
    scores, least = familiarity(drawn, np.concatenate([known, others]))
    own, far = scores[: len(known)], scores[len(known) :]
    kept = {"known": 100 * float((own >= least).mean()), "far_known": 100 * float((far >= least).mean())}
    return {"near": float(np.mean(near)), "far": auroc(own, far), **kept}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=int, default=30, help="of a class")
    options = parser.parse_args()
    every = {
        folder.name: compute(read_folder(folder, options.side), options.weights)[0]
        for folder in options.folders
    }
    rows = []
    for name, features in every.items():
        others = [one[:, 0] for other in every if other != name for one in every[other]["test"]]
        found = measure(features["train"], features["test"], np.concatenate(others), options.images)
        values = {key: round(value, 3) for key, value in found.items()}
        rows.append({"folder": name, "images": options.images, **values, "machine": describe_processor()})
        print(rows[-1], flush=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
