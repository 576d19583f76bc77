"""scikit-learn's own checks of estimators, on images that are drawn of its rows of numbers."""

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import check_array

import der
from tests.estimator.tiny import SHORT, SIDE

pytestmark = pytest.mark.slow  # scikit-learn's checks take two seconds to import, and five to run

NOT_OURS = {
    "check_classifiers_one_label": "its labels are floats",
    "check_classifiers_regression_target": "scikit-learn wants a sentence of its own words",
    "check_classifiers_train": "one epoch separates no classes",
    "check_dict_unchanged": "the first prediction keeps the folded network",
    "check_do_not_raise_errors_in_init_or_set_params": "the constructor refuses wrong settings at once",
    "check_estimators_nan_inf": "its labels are floats",
    "check_fit_score_takes_y": "partial_fit takes no class twice",
    "check_n_features_in": "images have no number of features",
    "check_n_features_in_after_fitting": "images have no number of features",
    "check_supervised_y_2d": "a column of labels is refused",
    "check_transformer_data_not_an_array": "there is no fit_transform",
    "check_transformer_general": "there is no fit_transform",
    "check_array_api_input": "needs a variable of the environment; scikit-learn 1.6 has none",
}


class Flat(der.DERClassifier):
    """Takes rows of numbers (N, features), the only X of the checks, and makes each row an image."""

    def __init__(self, settings: Any = None, **others: Any) -> None:
        super().__init__(settings, **others)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        return replace(tags, input_tags=replace(tags.input_tags, two_d_array=True, three_d_array=False))

    def draw(self, X: Any) -> Any:
        if getattr(X, "ndim", 2) > 2:  # ``score`` predicts what is an image already
            return X
        rows = 1 / (1 + np.exp(-check_array(X)))
        return np.pad(rows, ((0, 0), (0, SIDE**2)), "wrap")[:, : SIDE**2].reshape(-1, SIDE, SIDE)

    def fit(self, X: Any, y: Any = None) -> Any:
        return super().fit(self.draw(X), y)

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None) -> Any:  # type: ignore[override]
        return super().partial_fit(self.draw(X), y, classes)

    def predict_proba(self, X: Any) -> Any:
        return self.classes_ is not None and super().predict_proba(self.draw(X))

    def transform(self, X: Any) -> Any:
        return self.classes_ is not None and super().transform(self.draw(X))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        return super().score(self.draw(X), y, sample_weight)


def list_checks() -> list[tuple[str, Any]]:
    """Every check, with its name."""
    with warnings.catch_warnings(action="ignore"):  # the classifier has no base class of scikit-learn
        found = [*estimator_checks_generator(short())]
    return [(getattr(check, "func", check).__name__, partial(check, model)) for model, check in found]


def short() -> Flat:
    return Flat(device="cpu", network__depth=8, **SHORT)


CHECKS = list_checks()


def test_what_is_left_out_is_there() -> None:
    assert {*NOT_OURS} - {name for name, _ in CHECKS} <= {"check_array_api_input"}


@pytest.mark.filterwarnings("ignore:UserError occurred during set_params")  # see NOT_OURS
@pytest.mark.parametrize(("name", "check"), [(name, one) for name, one in CHECKS if name not in NOT_OURS])
def test_the_conventions_of_scikit_learn(name: str, check: Any) -> None:
    check()
