"""What is not supported is known in every spelling, with its reason and what there is instead."""

from __future__ import annotations

import re
from collections import Counter

import pytest

import salver
from salver.core.errors import SalverError
from salver.core.records import parse_record
from salver.explain import (
    explanation,
    methods,  # noqa: F401 - registers the methods
)
from salver.explain.explanation import METHODS as METHODS_BY_NAME
from salver.explain.unsupported import METHODS, SCORES, spelt, unsupported
from salver.families.instance import Facts
from tests.builders.views import facts_of


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


def test_a_suite_is_told_the_reason_too() -> None:
    stated = {**facts_of(0, "n").model_dump(), "explanation": {"method": "deep-lift"}}
    with pytest.raises(SalverError) as caught:
        parse_record(Facts, stated, "suite")
    assert "explanation: DeepLIFT is not supported: its multipliers are quotients" in str(caught.value)
    assert str(caught.value).endswith("use integrated-gradients or gradient-x-input in its place")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("saliency", "gradient"),
        ("gradd", "gradient"),
        ("ig", "integrated-gradients"),
        ("GBP", "guided-backprop"),
        ("gradient*input", "gradient-x-input"),
        ("KernelExplainer", "kernel-shap"),
        ("InputXGradient", "gradient-x-input"),
        ("gradient-shap", "expected-gradients"),
        ("LayerGradCam", "grad-cam"),
        ("GradCAM", "grad-cam"),
        ("smoothgrad_sq", "square-grad"),
        ("IntegratedGradients", "integrated-gradients"),
    ],
)
def test_names_of_other_packages_are_understood(word: str, meant: str) -> None:
    with pytest.raises(SalverError, match=re.escape(f"no method is called '{word}'; did you mean {meant}?")):
        salver.Attribution("net.onnx", word)
    with pytest.raises(SalverError, match=re.escape(f"{word!r} is not a choice; did you mean {meant}?")):
        parse_record(Facts, {**facts_of(0, "n").model_dump(), "explanation": {"method": word}}, "suite")


def test_a_beginning_of_several_methods_has_them_listed() -> None:
    hint = "choose one of grad-cam, gradient, gradient-x-input"
    assert METHODS_BY_NAME.suggestion("grad") == hint
    with pytest.raises(SalverError, match=f"'grad' is the beginning of several methods; {hint}"):
        salver.Attribution("net.onnx", "grad")
    assert METHODS_BY_NAME.suggestion("qqq") == "`salver methods` lists them"


def test_no_name_of_another_package_means_two_methods() -> None:
    kinds = explanation.METHODS.known
    names = Counter(spelt(name) for method in kinds for name in (method, *kinds[method].elsewhere))
    assert max(names.values()) == 1
    assert not any(map(unsupported, names))


def test_no_spelling_means_two_things() -> None:
    words = Counter(word for one in METHODS for word in (one.name, *one.aliases))
    assert all(unsupported(word) is one for one in METHODS for word in (one.name, *one.aliases))
    assert max(words.values()) == 1


def test_what_there_is_instead_is_there() -> None:
    named = {name for one in (*METHODS, *SCORES) for name in one.instead}
    assert named <= set(explanation.METHODS.known)
