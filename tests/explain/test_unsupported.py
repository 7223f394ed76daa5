"""What is not supported is known in every spelling, with its reason and what there is instead."""

from __future__ import annotations

from collections import Counter

import pytest

from salver.explain import (
    explanation,
    methods,  # noqa: F401 - registers the methods
)
from salver.explain.unsupported import METHODS, SCORES, unsupported


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("deeplift", "DeepLIFT"),
        ("deep_lift_shap", "DeepLIFT"),
        ("lrp", "LRP-epsilon"),
        ("LRP-0", "LRP-0"),
        ("gradcam++", "Grad-CAM++"),
        ("guided grad-cam", "Guided Grad-CAM"),
        ("scorecam", "Score-CAM"),
    ],
)
def test_any_spelling_finds_the_method(word: str, name: str) -> None:
    found = unsupported(word)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("word", ["grad-cam", "gradient", "", "+", "guided-backprop"])
def test_other_words_find_nothing(word: str) -> None:
    assert unsupported(word) is None


def test_the_error_names_option_reason_and_what_to_do() -> None:
    error = next(one for one in METHODS if one.name == "Guided Grad-CAM").error("--method")
    text = str(error)
    assert text.startswith("--method: Guided Grad-CAM is not supported: it multiplies two maps")
    assert text.endswith("use guided-backprop or grad-cam in its place")


def test_probabilities_are_no_score() -> None:
    found = unsupported("softmax", SCORES)
    assert found is not None
    assert str(found.error("--score")).startswith("--score: probability is not supported: exponentials")


def test_no_spelling_means_two_things() -> None:
    words = Counter(word for one in METHODS for word in (one.name, *one.aliases))
    assert all(unsupported(word) is one for one in METHODS for word in (one.name, *one.aliases))
    assert max(words.values()) == 1


def test_what_there_is_instead_is_there() -> None:
    named = {name for one in (*METHODS, *SCORES) for name in one.instead}
    assert named <= set(explanation.METHODS.known)
