"""The book's methods as scikit-learn estimators, for use in a Pipeline."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from tlutils import guards
from tlutils.coral import coral_map

__all__ = ["CoralTransformer"]


class CoralTransformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Align the training examples of a pipeline, the source, with unlabelled target examples.

    .. math:: x \mapsto \bar x_T + A (x - \bar x_S), \qquad
        A = (C_T + \lambda I)^{1/2} (C_S + \lambda I)^{-1/2}

    A pipeline calls `fit_transform` with the source when it is fitted, and `transform` with the target when
    it predicts. So `fit_transform` aligns, and `transform` returns what it gets: the target stays where it
    is. (scikit-learn's own `TargetEncoder` makes the same distinction.)

    Parameters
    ----------
    x_target
        Unlabelled target examples, one row each, at least two, in the units in which the source arrives at
        this step. Without them there is nothing to align with, and every method returns what it gets.
    ridge
        λ above, at least 0; see `tlutils.coral.coral_map`.

    Attributes
    ----------
    map_
        A, float64, shape (num_features, num_features).
    mean_source_, mean_target_
        The two means.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> x_source, y_source = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1]
    >>> x_target = 10 * x_source + 100
    >>> model = make_pipeline(CoralTransformer(x_target, ridge=0), KNeighborsClassifier(1))
    >>> model.fit(x_source, y_source).predict(x_target)
    array([0, 0, 1, 1])
    """

    def __init__(self, x_target=None, ridge=1.0):
        self.x_target = x_target
        self.ridge = ridge

    def fit(self, X, y=None):  # noqa: ARG002
        """Estimate both means and the map.

        Parameters
        ----------
        X
            Source examples, shape (n_source, num_features).
        y
            Ignored.

        Raises
        ------
        ValueError
            If the target is no table of finite numbers, has no row or another number of features, or as in
            `tlutils.coral.coral_map`.
        TypeError
            If the target is sparse, or `ridge` is no number.
        """
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        guards.come_as_table("x_target", self.x_target, X.dtype)
        target = X if self.x_target is None else check_array(self.x_target, dtype=X.dtype)
        if target.shape[1] != X.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} features and x_target {target.shape[1]}; expected the same number: "
                "x_target must have gone through the steps before this one"
            )
        # NumPy would sum float32 in float32, and lose digits where the mean is large beside the spread.
        self.mean_source_, self.mean_target_ = (x.mean(axis=0, dtype=np.float64) for x in (X, target))
        if self.x_target is None:
            self.map_ = np.eye(X.shape[1])
        else:
            source, target = (torch.from_numpy(np.array(x, dtype=np.float64)) for x in (X, target))
            self.map_ = coral_map(source, target, ridge=self.ridge).numpy()
        return self

    def fit_transform(self, X, y=None):
        """Fit to the source and return it aligned, same shape and dtype."""
        return self.fit(X, y).align(X)

    def align(self, X):
        """Return source examples as they would look in the target, same shape and dtype."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        if self.x_target is None:
            return X
        return ((X - self.mean_source_) @ self.map_.T + self.mean_target_).astype(X.dtype, copy=False)

    def transform(self, X):
        """Return target examples unchanged, after checking their shape."""
        check_is_fitted(self)
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=False)

    def __sklearn_tags__(self):
        """Say that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
