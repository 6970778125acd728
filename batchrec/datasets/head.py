"""Head of a model: a linear layer on the features of the embedded network, and its training.

scikit-learn's default strength (C = 1) gives an accuracy of 0.62 where C = 100 with balanced classes gives 1.00 (26
images of tools). Each fit has one BLAS thread: on a busy machine with two cores the default number of threads took
5.2 s for what one thread does in 0.05 s.
"""

import io
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController

STRENGTH = 100.0
"""C of the logistic regression: how little the weights are held down."""

_MOST_STEPS = 500
"""Iterations of the solver; 20,000 images of 50 classes take fewer."""

Features = NDArray[np.floating[Any]]


class Head(NamedTuple):
    """Weights (classes x 1280, float32) and bias (classes) of each class, by its name."""

    classes: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def probabilities(self, features: Features) -> NDArray[np.float64]:
        """The probability of each class (images x classes) from features (images x 1280)."""
        logits = features.astype(np.float64) @ self.weights.T + self.bias
        powers: NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
        sums: NDArray[np.float64] = powers.sum(axis=1, keepdims=True)
        return powers / sums

    def as_bytes(self) -> bytes:
        """The file that the embedded endpoint reads: an npz without pickles, the same bytes for the same head."""
        out = io.BytesIO()
        np.savez(out, classes=np.array(self.classes), weights=self.weights, bias=self.bias)
        return out.getvalue()


def fit(features: Features, labels: NDArray[np.intp], classes: Sequence[str]) -> Head:
    """Train a head. `labels` are indices into `classes`; a class without an image gets no probability.

    At least two classes need images.
    """
    model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=_MOST_STEPS)
    with _blas().limit(limits=1):
        model.fit(features.astype(np.float32), labels)
    weights = np.zeros((len(classes), features.shape[1]), np.float32)
    bias = np.full(len(classes), -np.inf, np.float32)
    found, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one row, for the second class: the first one has zeros beside it
        found, intercept = np.vstack((np.zeros_like(found), found)), np.append(0.0, intercept)
    weights[model.classes_], bias[model.classes_] = found, intercept
    return Head(tuple(classes), weights, bias)


@cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries of the process; finding them takes 70 ms."""
    return ThreadpoolController()
