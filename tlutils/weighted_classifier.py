"""A scikit-learn classifier that is trained on source examples weighted for a target."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from tlutils import guards
from tlutils.instance_based import density_ratio_weights, effective_sample_size

__all__ = ["WeightedClassifier"]


def _has(name: str):
    """Return a test whether the wrapped classifier has the method `name`."""

    def check(self) -> bool:
        return hasattr(getattr(self, "estimator_", self._given()), name)

    return check


class WeightedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Train a classifier on labelled source examples, weighted for unlabelled target examples.

    Parameters
    ----------
    estimator
        A classifier whose `fit` takes `sample_weight`; default is logistic regression.
    x_target
        Unlabelled target examples, one row each, in the units in which the source arrives at this step.
        Without them every weight is 1.
    method
        As in `tlutils.instance_based.density_ratio_weights`.

    Attributes
    ----------
    weights_
        The weights of the training examples, mean 1.
    effective_sample_size_
        See `tlutils.instance_based.effective_sample_size`.
    estimator_, classes_, n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Examples
    --------
    >>> x_source, y_source = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 1, 0, 1]
    >>> model = WeightedClassifier(x_target=np.array([[0.0], [1.0]]))
    >>> bool(np.all(np.diff(model.fit(x_source, y_source).weights_) < 0))
    True
    """

    def __init__(self, estimator=None, x_target=None, method="classifier"):
        self.estimator = estimator
        self.x_target = x_target
        self.method = method

    def _given(self):
        return LogisticRegression() if self.estimator is None else self.estimator

    def fit(self, X, y):
        """Estimate the weights and train.

        Parameters
        ----------
        X
            Source examples, one row each.
        y
            Their classes.

        Raises
        ------
        ValueError
            If `X` and `y` do not fit each other, `x_target` is no table of finite numbers, has no row or
            another number of features, or as in `density_ratio_weights`.
        TypeError
            If `x_target` is sparse.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        guards.come_as_table("x_target", self.x_target, np.float64)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class, {self.classes_[0]!r}; expected at least two classes")
        if self.x_target is None:
            self.weights_ = np.ones(len(X))
        else:
            x_target = check_array(self.x_target, dtype=np.float64)
            pair = torch.from_numpy(X), torch.from_numpy(x_target)
            self.weights_ = density_ratio_weights(*pair, method=self.method).numpy()
        self.effective_sample_size_ = effective_sample_size(torch.from_numpy(self.weights_))
        self.estimator_ = clone(self._given()).fit(X, y, sample_weight=self.weights_)
        return self

    def _checked(self, X):
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)

    def predict(self, X):
        """Return the class of each row."""
        X = self._checked(X)
        return self.estimator_.predict(X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X):
        """Return the probability of each class for each row."""
        X = self._checked(X)
        return self.estimator_.predict_proba(X)

    @available_if(_has("decision_function"))
    def decision_function(self, X):
        """Return the score of each row."""
        X = self._checked(X)
        return self.estimator_.decision_function(X)
