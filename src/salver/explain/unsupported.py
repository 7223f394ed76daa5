"""Methods and scores that people ask for and that are no graph of ours, each with its reason.

A graph is made of linear operators, ReLUs, masks and products of a value and a piecewise constant. What needs
quotients, exponentials or products of two varying values is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from salver.core.errors import SalverError
from salver.core.names import spelt


@dataclass(frozen=True)
class Unsupported:
    """Something that is not supported.

    Attributes:
        name: in the words of its paper.
        aliases: other spellings; case, spaces and signs but `+` do not count.
        reason: one clause.
        instead: methods in place of it, by the names they are registered under.
    """

    name: str
    aliases: tuple[str, ...]
    reason: str
    instead: tuple[str, ...]

    def error(self, option: str) -> SalverError:
        """What a person is told who names it under an option such as `--method`."""
        hint = f"use {' or '.join(self.instead)} in its place" if self.instead else ""
        return SalverError(f"{self.name} is not supported: {self.reason}", option, hint)


METHODS: tuple[Unsupported, ...] = (
    Unsupported(
        "DeepLIFT",
        ("DeepLift Rescale", "DeepLift RevealCancel", "DeepLiftShap", "Deep SHAP", "DeepExplainer"),
        "its multipliers are quotients of two differences from a reference, so it is rational",
        ("integrated-gradients", "gradient-x-input"),
    ),
    Unsupported(
        "LRP-epsilon",
        ("LRP", "e-LRP", "epsilon LRP", "LRP-gamma", "LRP alpha beta", "layer-wise relevance propagation"),
        "its relevances are divided by pre-activations, so it is rational",
        ("gradient-x-input",),
    ),
    Unsupported(
        "LRP-0",
        ("LRP zero", "LRP-Z"),
        "on a network of ReLUs its quotients cancel, and it is gradient x input",
        ("gradient-x-input",),
    ),
    Unsupported(
        "Grad-CAM++",
        ("Grad-CAM plus plus", "GradCAMpp"),
        "its weights are quotients of sums of gradients and activations, so it is rational",
        ("grad-cam",),
    ),
    Unsupported(
        "Ablation-CAM",
        (),
        "its weights are drops of a logit divided by the logit, so it is rational",
        ("occlusion", "grad-cam"),
    ),
    Unsupported(
        "Score-CAM",
        ("SS-CAM", "IS-CAM"),
        "its masks are divided by their range and its weights are softmax values",
        ("rise", "grad-cam"),
    ),
    Unsupported(
        "XGrad-CAM",
        ("Axiom-based Grad-CAM",),
        "its weights are divided by sums of activations, so it is rational",
        ("grad-cam",),
    ),
    Unsupported(
        "Guided Grad-CAM",
        ("guided gradcam", "guided backprop times Grad-CAM"),
        "it multiplies two maps that both vary with the input, which is a product of products",
        ("guided-backprop", "grad-cam"),
    ),
)
SCORES: tuple[Unsupported, ...] = (
    Unsupported(
        "probability",
        ("softmax", "probabilities", "log probability", "log-softmax", "sigmoid"),
        "exponentials are no piecewise linear function, so maps are of logits",
        (),
    ),
)


def refused(word: str) -> SalverError | None:
    """Why a method is not supported; None for a word that names none of these."""
    found = unsupported(word)
    return found.error("method") if found else None


def unsupported(word: str, known: Iterable[Unsupported] = METHODS) -> Unsupported | None:
    """The one that a word names, in any of its spellings."""
    wanted = spelt(word)
    return next((one for one in known if wanted in map(spelt, (one.name, *one.aliases))), None)
