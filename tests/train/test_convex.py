"""Convex classifiers on features: against textbook formulas, scikit-learn, and images held out."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp  # type: ignore[import-untyped]
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from der.model.architecture import Outputs
from der.settings.sections import ConvexMethod
from der.train import convex

Array = NDArray[np.float64]


def draw(
    counts: tuple[int, ...] = (7, 5, 9), features: int = 6, views: int = 2, apart: float = 2.0, seed: int = 0
) -> list[NDArray[np.float32]]:
    """Draw features (N, views, features) of classes, of which some directions vary more than others."""
    stream = np.random.default_rng(seed)
    spread = np.linspace(0.3, 3, features)
    drawn = []
    for count in counts:
        images = apart * stream.normal(size=features) + spread * stream.normal(size=(count, 1, features))
        drawn.append((5 + images + 0.3 * stream.normal(size=(count, views, features))).astype(np.float32))
    return drawn


def rows(features_by_class: list[NDArray[np.float32]]) -> tuple[Array, NDArray[np.int64]]:
    joined = np.concatenate([one.reshape(-1, one.shape[2]) for one in features_by_class]).astype(np.float64)
    return joined, np.repeat(
        np.arange(len(features_by_class)), [one[..., 0].size for one in features_by_class]
    )


def logits(fitted: convex.Fitted, rows_RP: Array) -> Array:
    result: Array = rows_RP @ fitted.weight_KP.T.astype(np.float64) + fitted.bias_K
    result -= result.mean(axis=1, keepdims=True)
    return result


def proportional(ours: Array, theirs: Array, tolerance: float) -> None:
    factor = (ours * theirs).sum() / (theirs**2).sum()
    assert factor > 0
    np.testing.assert_allclose(ours, factor * theirs, atol=tolerance * np.abs(ours).max())


def textbook_metric(features_by_class: list[NDArray[np.float32]], shrinkage: float) -> Array:
    rows_by_class = [one.reshape(-1, one.shape[2]).astype(np.float64) for one in features_by_class]
    mean_PP = np.mean([np.cov(one.T, bias=True) for one in rows_by_class], axis=0)
    shrunk: Array = (1 - shrinkage) * mean_PP + shrinkage * np.trace(mean_PP) / len(mean_PP) * np.eye(
        len(mean_PP)
    )
    return shrunk


@pytest.mark.parametrize("features", [6, 60], ids=["more rows", "more features"])
def test_lda_is_scikit_learns(features: int) -> None:
    drawn = draw(features=features)
    rows_RP, labels_R = rows(drawn)
    known = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.4, priors=np.full(3, 1 / 3)).fit(
        rows_RP, labels_R
    )
    sums = convex.sums_of((rows_RP[labels_R == label] for label in range(3)), features)
    weight_DK, bias_K = convex.lda(sums, 0.4)
    np.testing.assert_allclose(convex.metric(sums, 0.4), textbook_metric(drawn, 0.4), atol=1e-10)
    np.testing.assert_allclose(weight_DK.T, known.coef_, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(bias_K - np.log(3), known.intercept_, rtol=1e-7)
    fitted = logits(convex.fit_convex(drawn, "lda", 0.4), rows_RP)
    theirs = known.decision_function(rows_RP)
    theirs -= theirs.mean(axis=1, keepdims=True)
    proportional(fitted, theirs, 1e-4)


@pytest.mark.parametrize("penalty", [10.0, 0.1])
def test_logistic_reaches_scikit_learns_optimum(penalty: float) -> None:
    drawn = draw()
    rows_RP, labels_R = rows(drawn)
    metric = textbook_metric(drawn, 0.5)
    white = np.linalg.solve(np.linalg.cholesky(metric), rows_RP.T).T
    known = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000)
    known.fit(white, labels_R, sample_weight=1 / (3 * np.bincount(labels_R))[labels_R])
    sums = convex.sums_of((rows_RP[labels_R == label] for label in range(3)), 6)
    weight_DK, bias_K = convex.logistic(rows_RP, labels_R, sums, 0.5, penalty, 1e-9)
    theirs = known.decision_function(white)
    mine = rows_RP @ weight_DK + bias_K
    np.testing.assert_allclose(
        mine - mine.mean(axis=1, keepdims=True), theirs - theirs.mean(axis=1, keepdims=True), atol=1e-5
    )


@pytest.mark.parametrize("method", ["lda", "logistic"])
def test_images_given_more_than_once_change_no_decision(method: ConvexMethod) -> None:
    drawn = draw((10, 10, 10), features=20)
    rows_RP, _ = rows(drawn)
    often = convex.fit_convex([np.repeat(drawn[0], 7, axis=0), *drawn[1:]], method, 0.5)
    proportional(logits(often, rows_RP), logits(convex.fit_convex(drawn, method, 0.5), rows_RP), 1e-3)


@pytest.mark.parametrize("method", ["lda", "logistic"])
def test_more_features_than_rows(method: ConvexMethod) -> None:
    """The fit in the span of the rows is the fit in all dimensions."""
    drawn = draw(features=90)
    rows_RP, labels_R = rows(drawn)
    sums = convex.sums_of((rows_RP[labels_R == label] for label in range(3)), 90)
    if method == "lda":
        weight_DK, bias_K = convex.lda(sums, 0.5)
    else:
        weight_DK, bias_K = convex.logistic(rows_RP, labels_R, sums, 0.5, convex.PENALTY, 1e-8)
    expected = rows_RP @ weight_DK + bias_K
    expected -= expected.mean(axis=1, keepdims=True)
    proportional(logits(convex.fit_convex(drawn, method, 0.5), rows_RP), expected, 1e-3)


def test_auto_is_half_each() -> None:
    """Near enough: the scales of the parts are those that suit each alone."""
    drawn = draw((30, 30, 30), apart=0.7)
    rows_RP, _ = rows(drawn)
    both = logits(convex.fit_convex(drawn, "lda"), rows_RP) + logits(
        convex.fit_convex(drawn, "logistic"), rows_RP
    )
    proportional(logits(convex.fit_convex(drawn), rows_RP), both, 0.02)


@pytest.mark.parametrize(("variances", "best"), [((1, 1, 1, 1), 0.9), ((9, 1, 0.1, 0.01), 0.2)])
def test_shrinks_as_much_as_the_data_ask_for(variances: tuple[float, ...], best: float) -> None:
    """Features that vary alike are best measured alike; classes that differ in the quiet ones are not."""
    stream = np.random.default_rng(3)
    spread = np.sqrt(variances).repeat(10)
    means = spread * stream.normal(size=(6, 40)) * 0.35
    drawn = [(mean + spread * stream.normal(size=(12, 1, 40))).astype(np.float32) for mean in means]
    shares = convex.fit_convex(drawn, "lda").shares
    assert max(shares, key=lambda choice: shares[choice]).shrinkage == best
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("method", ["lda", "logistic", "auto"])
def test_loss_is_of_images_held_out(method: ConvexMethod) -> None:
    """Labels that mean nothing can be learned by heart, 1000 features to 60 images, but not guessed."""
    noise = list(np.random.default_rng(1).normal(size=(3, 20, 1, 1000)).astype(np.float32))
    fitted = convex.fit_convex(noise, method)
    assert (logits(fitted, rows(noise)[0]).argmax(axis=1) == rows(noise)[1]).all()
    assert fitted.loss == pytest.approx(np.log(3), abs=0.05)


def test_views_of_an_image_are_held_out_together() -> None:
    """Views that are one image do not tell its label when it is held out."""
    noise = np.random.default_rng(1).normal(size=(3, 20, 1, 1000)).astype(np.float32)
    fitted = convex.fit_convex([np.repeat(one, 4, axis=1) for one in noise])
    assert fitted.loss == pytest.approx(np.log(3), abs=0.05)


@pytest.mark.parametrize("method", ["lda", "logistic", "auto"])
def test_probabilities_hold_for_new_images(method: ConvexMethod) -> None:
    known, new = (
        [one[half] for one in draw((1100, 1100, 1100), apart=0.6, views=1)]
        for half in (slice(100), slice(100, 1100))
    )
    fitted = convex.fit_convex(known, method)
    rows_RP, labels_R = rows(new)
    of_new = logits(fitted, rows_RP)
    loss = np.mean(logsumexp(of_new, axis=1) - of_new[np.arange(len(labels_R)), labels_R])
    for factor in (0.5, 2.0):
        scaled = factor * of_new
        assert loss < np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(labels_R)), labels_R])
    assert fitted.loss == pytest.approx(loss, abs=0.1)


@pytest.mark.parametrize("method", ["lda", "logistic", "auto"])
@pytest.mark.parametrize(
    "features_by_class",
    [
        draw((1, 1, 1), views=1),
        draw((1, 1, 1)),
        draw((1, 2, 30)),
        draw((4,)),
        draw((1,), views=1),
        [np.ones((3, 2, 6), np.float32)] * 2,
        [np.concatenate([one, np.ones((len(one), 2, 4), np.float32)], axis=2) for one in draw()],
    ],
    ids=[
        "one image each",
        "one and its flip",
        "few and many",
        "one class",
        "one image",
        "the same",
        "constant features",
    ],
)
def test_degenerate(method: ConvexMethod, features_by_class: list[NDArray[np.float32]]) -> None:
    fitted = convex.fit_convex(features_by_class, method)
    assert fitted.weight_KP.shape == (len(features_by_class), features_by_class[0].shape[2])
    assert np.isfinite(fitted.weight_KP).all() and np.isfinite(fitted.bias_K).all()


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("method", ["lda", "logistic", "auto"])
def test_one_image_of_each_class_is_recognised(method: ConvexMethod, views: int) -> None:
    drawn = draw((1, 1, 1, 1), features=30, views=views)
    fitted = convex.fit_convex(drawn, method)
    assert (logits(fitted, rows(drawn)[0]).argmax(axis=1) == rows(drawn)[1]).all()
    assert np.isnan(fitted.loss)


def test_depends_on_nothing_but_the_features() -> None:
    np.random.seed(5)  # noqa: NPY002
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    first, second = convex.fit_convex(draw()), convex.fit_convex(draw())
    assert first.weight_KP.tobytes() == second.weight_KP.tobytes()
    assert np.random.random() == drawn  # noqa: NPY002


def test_nineteen_of_twenty_known_images_are_familiar_and_others_are_not() -> None:
    stream = np.random.default_rng(1)
    centres = 4 * stream.normal(size=(6, 20))

    def images(centre: Array, count: int) -> NDArray[np.float32]:
        return (5 + centre + stream.normal(size=(count, 1, 20))).astype(np.float32)

    fitted = convex.fit_convex([images(centre, 60) for centre in centres])
    assert fitted.familiarity is not None

    def share_familiar(seen: NDArray[np.float32]) -> float:
        outputs = Outputs(seen[:, 0], seen[:, 0] @ fitted.weight_KP.T + fitted.bias_K)
        return float((fitted.familiarity.score(outputs, fitted.means_KP) >= fitted.familiarity.least).mean())

    assert 0.92 < share_familiar(np.concatenate([images(centre, 300) for centre in centres])) < 0.98
    assert share_familiar(np.concatenate([images(4 * stream.normal(size=20), 10) for _ in range(50)])) < 0.2


def test_the_bits_depend_on_no_number_of_threads() -> None:
    drawn, found = draw((90, 80, 70), features=200), []
    for threads in (1, 2):
        with threadpool_limits(threads):
            fitted, _ = convex.fit_classifier(drawn, "auto", None)
            found.append((fitted.loss, fitted.shares, fitted.weight_KP.tobytes()))
    assert found[0] == found[1]
