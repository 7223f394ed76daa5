"""What a person may say about data of their own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from salver.core.errors import SalverError
from salver.core.records import Record

Number = Annotated[float, Field(allow_inf_nan=False)]
Numbers = Number | tuple[Number, ...]
"""One number for all entries, one a channel of an image, or one an entry."""
Count = Annotated[int, Field(gt=0)]


class DataOptions(Record):
    """What is not in the files. A suite writes `dataset = { path = "wine.csv", label = "quality" }`.

    Attributes:
        label: column of the classes (.csv).
        class_names: in the order of the network's outputs.
        feature_names: in the order of the network's inputs (.npz).
        shape: of one input as the network takes it (.npz).
        layout: of the images that the network takes: channels, height, width (`chw`), or `hwc`.
        file_layout: of the images in the file, where it is another one (.npz).
        size: height and width that images are brought to (folder).
        colour: what images are read as (folder).
        lower, upper: lowest and highest valid values, in the units of the files.
        mean, std: the network sees (value - mean) / std; `lower` and `upper` are taken along.
    """

    label: str | None = None
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    shape: tuple[Count, ...] = ()
    layout: Literal["chw", "hwc"] = "chw"
    file_layout: Literal["chw", "hwc"] | None = None
    size: Count | tuple[Count, Count] | None = None
    colour: Literal["grey", "rgb"] | None = None
    lower: Numbers | None = None
    upper: Numbers | None = None
    mean: Numbers | None = None
    std: Numbers | None = None

    def refuse_others(self, allowed: set[str], where: str, kind: str) -> None:
        """Refuses an option that means nothing for a kind of data.

        Args:
            allowed: the options that mean something.

        Raises:
            SalverError: another one is given.
        """
        for name in sorted(self.model_fields_set - allowed - {"path"}):
            raise SalverError(f"{name} means nothing for {kind}", where, "leave it out")


class DataSource(DataOptions):
    """Data as a suite names it: a name of the catalogue, or a path with what is not in the file."""

    path: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given

    @classmethod
    def of(cls, name_or_path: str) -> Self:
        """A source about which nothing else is said."""
        return cls(path=name_or_path)
