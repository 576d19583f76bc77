"""Linear classifiers on features of a frozen network, fitted to all images of all classes by convex problems.

Both methods measure features by H, the covariance within classes, shrunk towards a multiple of the identity
(Friedman 1989, "Regularized Discriminant Analysis", section 3): ``lda`` decides for the nearest class mean,
``logistic`` minimises the cross-entropy and a penalty on the weights in the metric of H. All classes weigh
the same, however many images they have. Cross-validation sees the given images alone.

# K classes, N images of a class or of all, V views of an image, R rows (views of images), P features; in D
# dimensions, which are the features, or span what the rows differ in where there are fewer rows
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from der.model.architecture import Familiarity, class_mean, energy, likeness
from der.settings.sections import ConvexMethod, TrainSettings
from der.train.log import CLASSIFIER, EpochRecord

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Linear = tuple[Array, Array]  # weights (D, K) and biases (K,): the logits of x are x @ weights + biases

FOLDS = 4
KEPT = 0.95  # share of held-out images that are familiar enough
SHRINKAGES = {"lda": (0.6, 0.2, 0.9), "logistic": (0.9, 0.3)}  # the first where nothing can be compared
PENALTY = 1.0
ALIKE = 0.03  # nats of cross-entropy: a choice that is worse by this has 1 / e of the best one's share
LOOSE, TIGHT = 1e-3, 1e-5  # the slope at which a fit ends: to be compared, and to be kept


class Choice(NamedTuple):
    """A way to fit: a method, and the shrinkage of H."""

    method: str
    shrinkage: float


class Sums(NamedTuple):
    """What LDA needs of its classes: the means, and the sum of the covariances (divided by N, not N - 1)."""

    means_KD: Array
    covariances_DD: Array
    features: int  # P


class Fitted(NamedTuple):
    """A classifier: the logits of features x are ``weight_KP @ x + bias_K``."""

    weight_KP: NDArray[np.float32]
    bias_K: NDArray[np.float32]
    shares: dict[Choice, float]  # of the logits, within a method
    loss: float  # cross-entropy of images held out, in nats; NaN if there were none
    means_KP: NDArray[np.float32]  # normalised
    familiarity: Familiarity | None  # of images held out; None if there were none


def fit_convex(
    features_by_class: Sequence[NDArray[np.floating]],
    method: ConvexMethod = "auto",
    shrinkage: float | None = None,
) -> Fitted:
    """Fit a classifier to the features (N, V, P) of each class's images; view 0 is the image as it is.

    Choices of a method whose images held out are predicted about as well share its logits; ``auto`` takes the
    mean of both methods' logits. Logits are scaled so that the probabilities of images held out fit best.
    ``shrinkage``, above 0 and up to 1, is used instead of those of the methods.
    """
    from scipy import special  # type: ignore[import-untyped]  # here: it takes half a second

    classes, (views, features) = len(features_by_class), features_by_class[0].shape[1:]
    labels_N = np.repeat(np.arange(classes), [len(one) for one in features_by_class])
    folds_N = np.concatenate([folds(len(one)) for one in features_by_class])
    rows_RD = np.concatenate([one.reshape(-1, features) for one in features_by_class]).astype(np.float64)
    labels_R = np.repeat(labels_N, views)
    centre_P = class_weights(labels_R) @ rows_RD
    rows_RD -= centre_P
    basis_PD = np.linalg.qr(rows_RD.T)[0] if len(rows_RD) < features else None
    if basis_PD is not None:
        rows_RD = rows_RD @ basis_PD
    names = ("lda", "logistic") if method == "auto" else (method,)
    used = [[Choice(name, one) for one in ([shrinkage] if shrinkage else SHRINKAGES[name])] for name in names]
    shares, loss, familiar = {choices[0]: 1.0 for choices in used}, float("nan"), None
    plain = [one[:, 0] for one in features_by_class]
    scales = np.full(len(used), 1 / len(used))
    held_N = folds_N >= 0
    if classes > 1 and held_N.any():
        logits = {choice: np.zeros((len(labels_N), classes)) for choices in used for choice in choices}
        near_N, seen_NP = np.zeros(len(labels_N)), np.concatenate(plain)
        for fold in range(FOLDS):
            rest_R, out_N = np.repeat(folds_N != fold, views), folds_N == fold
            fitted = fits(rows_RD[rest_R], labels_R[rest_R], features, logits, LOOSE)
            means = [class_mean(seen_NP[(labels_N == label) & ~out_N]) for label in range(classes)]
            near_N[out_N] = likeness(seen_NP[out_N], np.stack(means))
            for choice, (weight_DK, bias_K) in fitted.items():
                logits[choice][out_N] = rows_RD[::views][out_N] @ weight_DK + bias_K
        fitness = {choice: calibrate(logits[choice][held_N], labels_N[held_N]) for choice in logits}
        for choices in used:
            each = special.softmax([-fitness[choice][1] / ALIKE for choice in choices])
            shares |= dict(zip(choices, each.tolist(), strict=True))
        scales = np.array([share * fitness[choice][0] for choice, share in shares.items()])
        sum_NK = np.tensordot(scales, [logits[choice][held_N] for choice in shares], axes=1)
        factor, loss = calibrate(sum_NK, labels_N[held_N])
        scales *= factor
        energy_N, near_N = energy(factor * sum_NK), near_N[held_N]
        deviations = float(energy_N.std() or 1.0), float(near_N.std() or 1.0)
        score_N = energy_N / deviations[0] + near_N / deviations[1]
        familiar = Familiarity(*deviations, float(np.quantile(score_N, 1 - KEPT)))
    weights, biases = zip(*fits(rows_RD, labels_R, features, shares, TIGHT).values(), strict=True)
    weight_PK = np.tensordot(scales, weights, axes=1)
    if basis_PD is not None:
        weight_PK = basis_PD @ weight_PK
    bias_K = scales @ np.array(biases) - centre_P @ weight_PK
    weight_KP, means_KP = np.ascontiguousarray(weight_PK.T, np.float32), np.stack([*map(class_mean, plain)])
    return Fitted(weight_KP, bias_K.astype(np.float32), shares, loss, means_KP, familiar)


def count_views(settings: TrainSettings) -> int:
    """Count the views of an image for a fitted classifier: as it is, and flipped where training flips."""
    return 1 + settings.augmentation.horizontal_flip


def fit_classifier(
    features_by_class: Sequence[NDArray[np.floating]], method: ConvexMethod, shrinkage: float | None
) -> tuple[Fitted, EpochRecord]:
    """Call ``fit_convex``; return its result, and a record of loss and accuracy on the images as they are."""
    from scipy import linalg, special  # type: ignore[import-untyped]  # noqa: F401  # limits are of what is there

    # Threads would wait longer than they work. And the bits do not depend on their number.
    with threadpool_limits(1, "blas"):
        fitted = fit_convex(features_by_class, method, shrinkage)
    labels_N = np.repeat(np.arange(len(features_by_class)), [len(one) for one in features_by_class])
    seen_NP = np.concatenate([one[:, 0] for one in features_by_class])
    logits_NK = seen_NP @ fitted.weight_KP.T.astype(np.float64) + fitted.bias_K
    own_N = logits_NK[np.arange(len(labels_N)), labels_N]
    loss = np.mean(special.logsumexp(logits_NK, axis=1) - own_N)
    right_N = logits_NK.argmax(axis=1) == labels_N
    return fitted, EpochRecord(CLASSIFIER, 1, 0.0, float(loss), 0.0, float(100 * np.mean(right_N)))


def fits(
    rows_RD: Array, labels_R: Labels, features: int, choices: Iterable[Choice], slope: float
) -> dict[Choice, Linear]:
    sums = sums_of((rows_RD[labels_R == label] for label in range(labels_R.max() + 1)), features)
    return {
        choice: lda(sums, choice.shrinkage)
        if choice.method == "lda"
        else logistic(rows_RD, labels_R, sums, choice.shrinkage, PENALTY, slope)
        for choice in choices
    }


def sums_of(rows_by_class: Iterable[Array], features: int) -> Sums:
    means, rest = [], []
    for rows_RD in rows_by_class:
        means.append(rows_RD.mean(axis=0))
        rest.append((rows_RD - means[-1]) / np.sqrt(len(rows_RD)))
    rest_RD = np.concatenate(rest)  # one product is three times as fast as one for each class
    return Sums(np.stack(means), rest_RD.T @ rest_RD, features)


def metric(sums: Sums, shrinkage: float) -> Array:
    """Return H (D, D): (1 - shrinkage) S + shrinkage trace(S) / P I, of the classes' mean covariance S."""
    covariance_DD = sums.covariances_DD / len(sums.means_KD)
    variance = float(np.trace(covariance_DD)) / sums.features or 1.0  # 1 if no class has two different rows
    return (1 - shrinkage) * covariance_DD + shrinkage * variance * np.eye(len(covariance_DD))


def lda(sums: Sums, shrinkage: float) -> Linear:
    """Return the discriminants of equally frequent classes with covariance H."""
    from scipy import linalg  # type: ignore[import-untyped]

    weight_DK = linalg.solve(metric(sums, shrinkage), sums.means_KD.T, assume_a="pos")
    return weight_DK, -0.5 * (sums.means_KD.T * weight_DK).sum(axis=0)


def logistic(
    rows_RD: Array, labels_R: Labels, sums: Sums, shrinkage: float, penalty: float, slope: float
) -> Linear:
    """Minimise the mean over classes of the mean cross-entropy, plus penalty / 2 trace(W' H W), by L-BFGS.

    The search is in coordinates in which the Hessian at 0 is about the identity, so that it takes few steps.
    """
    from scipy import linalg, optimize  # type: ignore[import-untyped]

    weights_R, index_R, classes = class_weights(labels_R), np.arange(len(labels_R)), len(sums.means_KD)
    metric_DD, stretch = metric(sums, shrinkage), np.sqrt(classes)
    total_DD = (sums.covariances_DD + sums.means_KD.T @ sums.means_KD) / classes
    root_DD = linalg.cholesky(total_DD / classes + penalty * metric_DD, lower=True)

    def linear(flat: Array) -> Linear:
        point = flat.reshape(-1, classes)
        weight_DK = linalg.solve_triangular(root_DD, point[:-1], lower=True, trans="T", check_finite=False)
        return weight_DK, stretch * point[-1]

    def loss_and_slopes(flat: Array) -> tuple[float, Array]:
        weight_DK, bias_K = linear(flat)
        pull_DK = penalty * (metric_DD @ weight_DK)
        logits_RK = rows_RD @ weight_DK + bias_K
        logits_RK -= logits_RK.max(axis=1, keepdims=True)
        errors_RK = np.exp(logits_RK)
        sums_R = errors_RK.sum(axis=1)
        loss = weights_R @ (np.log(sums_R) - logits_RK[index_R, labels_R]) + (weight_DK * pull_DK).sum() / 2
        errors_RK *= (weights_R / sums_R)[:, None]
        errors_RK[index_R, labels_R] -= weights_R
        slopes_DK = linalg.solve_triangular(
            root_DD, rows_RD.T @ errors_RK + pull_DK, lower=True, check_finite=False
        )
        return float(loss), np.vstack([slopes_DK, stretch * errors_RK.sum(axis=0)]).ravel()

    start = np.zeros((len(root_DD) + 1) * classes)
    limits = {"gtol": slope, "ftol": 0, "maxiter": 1000, "maxfun": 2000}
    return linear(optimize.minimize(loss_and_slopes, start, jac=True, method="L-BFGS-B", options=limits).x)


def calibrate(logits_NK: Array, labels_N: Labels) -> tuple[float, float]:
    """Return the factor of the logits with the least cross-entropy, and that; all classes weigh the same.

    The true class's target is (n + 1) / (n + 2) for a class of n images (Platt 1999, "Probabilistic
    Outputs"), so that the factor stays finite where all images are right.
    """
    from scipy import optimize, special  # type: ignore[import-untyped]

    weights_N, classes = class_weights(labels_N), logits_NK.shape[1]
    logits_NK = logits_NK - logits_NK.mean(axis=1, keepdims=True)
    doubts_N = 1 / (np.bincount(labels_N)[labels_N] + 2)
    own_N = (1 - doubts_N * classes / (classes - 1)) * logits_NK[np.arange(len(labels_N)), labels_N]

    def loss(logarithm: float) -> float:
        factor = np.exp(logarithm)
        return float(weights_N @ (special.logsumexp(factor * logits_NK, axis=1) - factor * own_N))

    middle = -np.log(logits_NK.std() or 1.0)
    found = optimize.minimize_scalar(loss, bounds=(middle - 5, middle + 5), method="bounded")
    return float(np.exp(found.x)), float(found.fun)


def class_weights(labels_R: Labels) -> Array:
    """Return weights (R,) that sum to 1, and to the same for each class that occurs."""
    counts = np.bincount(labels_R)
    return 1 / (np.count_nonzero(counts) * counts[labels_R])


def folds(images: int) -> Labels:
    """Return each image's fold (N,); neighbours, often of one thing, share one. -1: never held out."""
    return np.arange(images) * FOLDS // images if images > 1 else np.array([-1])
