"""What is wrong with a person's data is told in plain words, with a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, field_validator

from salver.core.errors import SalverError, suggestion
from salver.core.records import Record, parse_options, parse_record


class Inner(Record):
    share: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)


class Outer(Record):
    title: str
    epsilons: tuple[float, ...] = Field(default=(0.1,), min_length=1)
    count: int = Field(default=1, gt=0)
    kind: Literal["abs", "raw"] = "abs"
    enumerate: bool = False
    folder: Path | None = None
    inner: tuple[Inner, ...] = ()
    date: str = Field(default="2026-01-01", pattern=r"^\d{4}-\d{2}-\d{2}$")

    @field_validator("title")
    @classmethod
    def _checked(cls, title: str) -> str:
        if title == "bad":
            raise ValueError("is a bad title")
        return title


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"titel": "t"}, "titel: no entry has this name; did you mean title?"),
        ({"title": "t", "epsilon": 0.1}, "epsilon: no entry has this name; did you mean epsilons?"),
        ({"title": "t", "zzz": 1}, "zzz: no entry has this name; choose one of title, epsilons"),
        ({}, "title: is missing; add this entry"),
        ({"title": "t", "epsilons": 0.1}, "epsilons: 0.1 is not a list; write [0.1]"),
        ({"title": "t", "epsilons": []}, "epsilons: holds 0 values; give at least 1"),
        ({"title": "t", "epsilons": [0.1, "x"]}, "epsilons.1: 'x' is not a number; write a number"),
        ({"title": "t", "count": 0}, "count: 0 is too small; give a number above 0"),
        ({"title": "t", "count": 1.5}, "count: 1.5 is not a whole number; write a whole number"),
        ({"title": "t", "count": "many"}, "count: 'many' is not a whole number; write a whole number"),
        ({"title": "t", "kind": "ab"}, "kind: 'ab' is not a choice; did you mean abs?"),
        ({"title": "t", "kind": "xyz"}, "kind: 'xyz' is not a choice; choose abs or raw"),
        ({"title": "t", "enumerate": "maybe"}, "enumerate: 'maybe' is not true or false"),
        ({"title": 3}, "title: 3 is not text; write it in quotes"),
        ({"title": True}, "title: true is not text; write it in quotes"),
        ({"title": "t", "folder": 3}, "folder: 3 is not a path; write it in quotes"),
        ({"title": "t", "inner": [{"shaer": 1}]}, "inner.0.shaer: no entry has this name; did you mean"),
        ({"title": "t", "inner": [{"share": 2}]}, "inner.0.share: 2 is too large"),
        ({"title": "t", "inner": [{"share": float("nan")}]}, "inner.0.share: nan is not a finite number"),
        ({"title": "t", "inner": ["x"]}, "inner.0: 'x' is not a table of entries"),
        ({"title": "t", "date": "tomorrow"}, "date: 'tomorrow' is not written as it must be; write YYYY"),
        ({"title": "bad"}, "title: is a bad title; correct this entry"),
    ],
)  # fmt: skip
def test_an_entry_is_told_of_in_plain_words(raw: dict[str, Any], told: str) -> None:
    with pytest.raises(SalverError) as caught:
        parse_record(Outer, raw, "x.toml")
    assert str(caught.value).startswith(f"x.toml: {told}")
    assert "Input should" not in str(caught.value)


def test_an_option_is_named_as_it_is_typed() -> None:
    with pytest.raises(SalverError, match=r"^--epsilons: 'x' is not a number"):
        parse_options(Outer, {"title": "t", "epsilons": ("x",)})
    with pytest.raises(SalverError, match=r"^-n: 0 is too small"):
        parse_options(Outer, {"title": "t", "count": 0}, {"count": "-n"})


def test_a_long_list_of_choices_is_cut() -> None:
    known = [f"network-{number:02}" for number in range(55)]
    assert suggestion("network-1", known) == "did you mean network-51?"
    assert suggestion("zzz", known, 2) == "choose one of network-00, network-01 and 53 others"
