"""How a network is trained: every setting, its legal values, and its default."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from cnnkit.errors import UsageError
from cnnkit.registry import did_you_mean

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "linear", "onecycle", "step"]
Normalize = Literal["auto", "published", "measured", "none"]
Monitor = Literal["val", "test"]

DEFAULT_LEARNING_RATES = {"sgd": 0.05, "adam": 2e-3, "adamw": 2e-3}
DEFAULT_WEIGHT_DECAYS = {"sgd": 0.0, "adam": 0.0, "adamw": 0.01}
DEFAULT_MOMENTUM = 0.9
RECIPE_PANEL = "Recipe"


def _shown(default: str | None = None, panel: str = RECIPE_PANEL) -> dict[str, JsonValue]:
    """Return what the help of a setting's option says beside its description.

    Args:
        default: what a setting that is left out comes to, where others decide it.
        panel: the group of options that it stands in.
    """
    return {"shown_default": default, "panel": panel}


class Recipe(BaseModel):
    """The settings of a training run, checked when they are put together.

    Build one with `Recipe.of(epochs=5, ...)`, which explains what is wrong in one line.

    Attributes:
        epochs: passes over the training set.
        batch_size: images a step, in all processes together.
        optimizer: `sgd`, `adam` or `adamw`.
        lr: highest learning rate; by optimizer where not given.
        momentum: of `sgd`; 0.9 where not given.
        weight_decay: L2 penalty (`sgd`, `adam`) or decoupled decay (`adamw`).
        schedule: how the learning rate moves; see `make_schedule`.
        warmup_epochs: epochs over which the learning rate rises first.
        label_smoothing: share of the target spread over all classes.
        accumulate: parts in which a batch is taken, their gradients added up.
        clip_grad: longest gradient, as its Euclidean norm over all parameters; None for any.
        ema: decay of the running average of the weights, which is then what is evaluated; None
            for the weights themselves.
        patience: stop when so many epochs in a row brought no higher validation accuracy; None
            not to.
        seed: of the weights, the order, dropout and the validation split.
        val_split: share of each class of the training set held out to choose the best epoch;
            0 for none; a dataset that brings a validation set uses that.
        normalize: `published` figures of the dataset, `measured` on the training set, `none`
            (pixels 0..1), or `auto`: published where there are any, else measured.
        monitor: `val`, or `test` to follow the test set every epoch as well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=20, ge=1, description="Passes over the training set.")
    batch_size: int = Field(default=32, ge=1, description="Images a step, in all processes.")

    # the optimizer and its schedule
    optimizer: Optimizer = Field(default="adam", description="What takes the steps.")
    lr: float | None = Field(
        default=None,
        gt=0,
        description="Highest learning rate.",
        json_schema_extra=_shown("0.002, for sgd 0.05"),
    )
    momentum: float | None = Field(
        default=None, ge=0, lt=1, description="Of sgd.", json_schema_extra=_shown("0.9")
    )
    weight_decay: float | None = Field(
        default=None,
        ge=0,
        description="Pull of the weights towards 0.",
        json_schema_extra=_shown("0, for adamw 0.01"),
    )
    schedule: Schedule = Field(default="onecycle", description="How the learning rate moves.")
    warmup_epochs: float | None = Field(
        default=None,
        ge=0,
        description="Epochs over which the learning rate rises first.",
        json_schema_extra=_shown("0, for onecycle 0.3 of all"),
    )

    # the step
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the target spread over all classes."
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Take a batch in so many parts, to save memory; the step stays that of the "
        "batch.",
    )
    clip_grad: float | None = Field(
        default=None,
        gt=0,
        description="Shorten gradients whose norm is above this.",
        json_schema_extra=_shown("never"),
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Evaluate a running average of the weights, with this decay, such as 0.999.",
        json_schema_extra=_shown("none"),
    )

    # the run
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Stop after so many epochs without a higher validation accuracy.",
        json_schema_extra=_shown("never"),
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Of weights, order, dropout and validation split."
    )
    val_split: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Share of the training set held out to choose the best epoch; 0 for none.",
    )
    normalize: Normalize = Field(
        default="auto",
        description="Mean and deviation: published ones where there are, else measured.",
    )
    monitor: Monitor = Field(
        default="val", description="Follow the test set every epoch as well, as lectures do."
    )

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """Return the recipe with these settings.

        Raises:
            UsageError: a setting is unknown or out of range; the message names the legal values.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            raise _explained(name, first["type"], first["msg"], first["input"], cls) from error

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.momentum is not None and self.optimizer != "sgd":
            raise ValueError(f"momentum belongs to the optimizer sgd, not to {self.optimizer}")
        if self.warmup_epochs is not None and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs must be below epochs, and {self.warmup_epochs:g} is not below "
                f"{self.epochs}"
            )
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate must be at most batch_size, and {self.accumulate} is above "
                f"{self.batch_size}"
            )
        return self

    def resolved(self) -> "Recipe":
        """Return the recipe with every default of the optimizer and schedule filled in."""
        optimizer = self.optimizer
        filled: dict[str, float | None] = {
            "lr": DEFAULT_LEARNING_RATES[optimizer] if self.lr is None else self.lr,
            "weight_decay": (
                DEFAULT_WEIGHT_DECAYS[optimizer] if self.weight_decay is None else self.weight_decay
            ),
            "warmup_epochs": (
                (0.3 * self.epochs if self.schedule == "onecycle" else 0.0)
                if self.warmup_epochs is None
                else self.warmup_epochs
            ),
        }
        if optimizer == "sgd" and self.momentum is None:
            filled["momentum"] = DEFAULT_MOMENTUM
        return self.model_copy(update=filled)


def _explained(name: str, kind: str, text: str, value: Any, cls: type[BaseModel]) -> UsageError:
    if kind == "extra_forbidden":
        return UsageError(
            f"unknown setting {name!r}",
            did_you_mean(name, cls.model_fields)
            or f"the settings are {', '.join(cls.model_fields)}",
        )
    if kind == "value_error":
        return UsageError(text.removeprefix("Value error, "))
    wanted = text.removeprefix("Input ").replace("should be", "must be")
    for long, short in (
        ("greater than or equal to", "at least"),
        ("greater than", "above"),
        ("less than", "below"),
    ):
        wanted = wanted.replace(long, short)
    return UsageError(f"{name} {wanted}, not {value!r}")
