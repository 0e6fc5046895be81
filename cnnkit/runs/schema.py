"""What `run.json` may hold: every value is checked here, once, when it is read."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    model_validator,
)

from cnnkit.errors import CheckFailedError

MAX_SIDE = 2**16
MAX_PIXELS = 2**28  # of one image, which is 3 GB in three channels of float32
MAX_BATCH_VALUES = 2**32  # of one batch of images
MAX_CLASSES = 2**16
MAX_THREADS = 1024
MAX_PROCESSES = 1024
MAX_TEXT = 4096  # the longest path that Linux takes
MAX_DEPTH = 32
CHECKSUM = "sha256"

WAY_OUT = "restore it from a copy, or train again"
EDITED = f'restore it; if you changed it yourself, remove the line "{CHECKSUM}"'


def _usable(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"should have at most {MAX_TEXT:,} characters")
    if "\0" in text:
        raise ValueError("should have no NUL in it")
    return text


def _gray_or_rgb(channels: int) -> int:
    if channels not in (1, 3):
        raise ValueError("should be 1 or 3")
    return channels


# Not pydantic's own: the name of a file need not be valid text, and is kept all the same.
Text = Annotated[InstanceOf[str], AfterValidator(_usable)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Channels = Annotated[int, AfterValidator(_gray_or_rgb)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Threads = Annotated[int, Field(ge=1, le=MAX_THREADS)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Closed(BaseModel):
    """Values that the results depend on: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Open(BaseModel):
    """Values that a later cnnkit may add to."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Preprocessing(_Closed):
    channels: Channels
    height: Side
    width: Side
    mean: list[Annotated[float, Field(ge=-1e6, le=1e6)]]
    std: list[Annotated[float, Field(ge=1e-12, le=1e6)]]
    allow_large: bool = False
    decoding: Literal["full", "fast", "before"] = "before"
    sizes: Literal["torchvision", "rounded"] = "rounded"

    @model_validator(mode="after")
    def _has_a_value_for_each_channel(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise ValueError(
                    f"{name} has {len(values)} values, and there are {self.channels} channels"
                )
        return self


class _Setup(_Closed):
    model: Text
    dataset: Text
    classes: Annotated[list[Text], Field(min_length=1, max_length=MAX_CLASSES)]
    in_channels: Channels
    image_size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    val_split: Annotated[float, Field(ge=0, lt=1)] | None
    split_seed: Count
    preprocessing: _Preprocessing
    eval_batch_size: Annotated[int, Field(ge=1, lt=2**31)]
    channels_last: bool
    fingerprint: Text
    model_sha256: Sha256 | None = None
    model_arguments: dict[Text, Text] = Field(default_factory=dict)
    tta: Literal["none", "mirror", "shift"] = "none"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    deterministic: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        treated = self.preprocessing
        if [treated.height, treated.width] != self.image_size:
            raise ValueError("image_size and preprocessing have different sizes")
        if treated.channels != self.in_channels:
            raise ValueError("in_channels and preprocessing have different channels")
        pixels = treated.height * treated.width
        if pixels > MAX_PIXELS:
            raise ValueError(f"image_size is {pixels:,} pixels, and at most {MAX_PIXELS:,} can be")
        if self.eval_batch_size * treated.channels * pixels > MAX_BATCH_VALUES:
            raise ValueError("eval_batch_size is too large for images of this size")
        return self


class _Network(_Closed):
    entry: Annotated[str, Field(pattern=r"^[^/\\:\x00]+\.py:[^/\\:\x00]+$", max_length=MAX_TEXT)]
    sha256: Sha256


class _Device(_Open):
    name: Annotated[str, Field(pattern=r"^(cpu|mps|(cuda|xpu)(:[0-9]{1,4})?)$")]
    hardware: Text
    num_threads: Threads


class _Versions(_Open):
    cnnkit: Text
    torch: Text
    python: Text


class _Checkpointing(_Closed):
    minutes: Annotated[float, Field(ge=0)]
    steps: Annotated[int, Field(ge=1, lt=2**63)] | None


class _Description(_Open):
    """`run.json`; what only a resumed training needs may be missing in runs of older versions."""

    setup: _Setup
    network: _Network | None = None
    id: Text | None = None
    created: Text | None = None
    recipe: dict[str, Any] | None = None
    recipe_name: Text | None = None
    weights: Text | None = None
    weights_sha256: Sha256 | None = None
    num_params: Count | None = None
    device: _Device | None = None
    versions: _Versions | None = None
    nproc: Annotated[int, Field(ge=1, le=MAX_PROCESSES)] = 1
    num_workers: Annotated[int, Field(ge=0, le=MAX_THREADS)] | None = None
    skip_bad: bool = False
    val_fingerprint: Text | None = None
    decoded_once: bool = False
    data_dir: Text = ""
    checkpointing: _Checkpointing | None = None
    resumed: list[dict[str, Any]] = Field(default_factory=list)


def parse(content: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        CheckFailedError: it is no JSON object, or one that no run is described by: with a key
            twice, a number that is not finite, or lists deep in each other.
    """
    try:
        plain = json.loads(
            content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_not_finite
        )
        _check_plain(plain, MAX_DEPTH)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CheckFailedError(f"{path} is damaged: {reason[:200]}", WAY_OUT) from error
    if not isinstance(plain, dict):
        raise CheckFailedError(f"{path} is damaged: it is no description of a run", WAY_OUT)
    return plain


def problem(description: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a description: the first value that is; None where all are right.

    A value may be missing, of the wrong type, or out of range.
    """
    try:
        _Description.model_validate(description)
    except ValidationError as error:
        return _explained(error)
    return None


def checksum(plain: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that a JSON object holds beside its own checksum."""
    rest = {name: value for name, value in plain.items() if name != CHECKSUM}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it has a key twice")
    return found


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _check_plain(value: object, depth: int) -> None:
    """Refuse lists and objects that are deep in each other, and 1e400, which is read as infinite.

    Raises:
        ValueError: there are.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number in it is too large")
    if isinstance(value, dict | list):
        if depth == 0:
            raise ValueError("it is nested too deeply")
        for one in value.values() if isinstance(value, dict) else value:
            _check_plain(one, depth - 1)


def _explained(error: ValidationError) -> str:
    """Return the first problem that pydantic has found, in a line."""
    found = error.errors(include_url=False)[0]
    name = ".".join(map(str, found["loc"]))[:200]
    name = name if name.isprintable() else ascii(name)
    wanted = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if found["type"] == "missing":
        return f"{name} is missing"
    if found["type"] == "extra_forbidden":
        return f"{name} is unknown"
    if isinstance(found["input"], dict | list):
        return f"{name}: {wanted}" if name else wanted
    value = ascii(found["input"])
    return f"{name} {wanted}, not {value if len(value) <= 80 else f'{value[:80]}...'}"
