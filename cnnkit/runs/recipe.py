"""How a network is trained: every setting, its legal values, and its default."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from cnnkit.data.loading.augmentation import MAX_RANDAUGMENT, Augmentation, Flip
from cnnkit.data.mean_std import normalize_text
from cnnkit.errors import UsageError, setting
from cnnkit.registry import did_you_mean
from cnnkit.system.validation import requirement

Model = TypeVar("Model", bound=BaseModel)
Optimizer = Literal["sgd", "adam", "adamw", "muon"]
Schedule = Literal["constant", "cosine", "linear", "onecycle", "step"]
Monitor = Literal["val", "test"]
TestTime = Literal["none", "mirror", "shift"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Cache = Literal["auto", "off"]
Decode = Literal["full", "fast"]

DEFAULT_LEARNING_RATES = {"sgd": 0.05, "adam": 2e-3, "adamw": 2e-3, "muon": 0.02}
DEFAULT_WEIGHT_DECAYS = {"sgd": 0.0, "adam": 0.0, "adamw": 0.01, "muon": 0.01}
DEFAULT_MOMENTUMS = {"sgd": 0.9, "muon": 0.95}
# A setting of one optimizer has no meaning for another.
OPTIMIZER_SETTINGS = ("lr", "lr_rest", "momentum", "nesterov", "weight_decay")
RECIPE_PANEL = "Recipe"
ABOUT_TABLES = ("about", "reached")  # what the file of a recipe says that is no setting
AUGMENTATION_PANEL = "Augmentation"
SPEED_PANEL = "Speed"


def _shown(default: str | None = None, panel: str = RECIPE_PANEL) -> dict[str, JsonValue]:
    """Return what the help of a setting's option says beside its description.

    Args:
        default: what a setting that is left out comes to, where others decide it.
        panel: the help panel of its option.
    """
    return {"shown_default": default, "panel": panel}


class Recipe(BaseModel):
    """The settings of a training run, checked when they are put together.

    Build one with `Recipe.of(epochs=5, ...)`, which explains what is wrong in one line.

    Attributes:
        epochs: passes over the training set.
        batch_size: images per step, in all processes together.
        optimizer: `sgd`, `adam`, `adamw`, or `muon`; see `make_optimizer`.
        lr: highest learning rate; by optimizer where not given.
        lr_rest: of `muon`: highest learning rate of the parameters that `adamw` trains; that
            of `adamw` where not given.
        momentum: of `sgd` and `muon`; 0.9 and 0.95 where not given.
        nesterov: of `sgd`: Nesterov's momentum, which `muon` always has.
        weight_decay: L2 penalty (`sgd`, `adam`) or decoupled decay (`adamw`, `muon`).
        schedule: how the learning rate moves; see `make_schedule`.
        warmup_epochs: epochs over which the learning rate rises first.
        label_smoothing: share of the target spread over all classes.
        accumulate: parts in which a batch is taken, their gradients added up.
        clip_grad: longest gradient, as its Euclidean norm over all parameters; None for any.
        ema: decay of the running average of the weights, which is then what is evaluated; None
            for the weights themselves.
        pretrained: start from the weights that torchvision has, with a new last layer.
        weights: start from the weights of this file (`.safetensors`, `.pt` or `.pth`), or of this
            run; None for fresh ones.
        freeze: train only the last layer of such weights.
        dropout: probability of every dropout layer of the network; its own where not given.
        crop: pixels that training images are shifted by at most; see `Augmentation` for this and
            the next five.
        flip: `none`, `random` or `alternating`: which images are mirrored.
        randaugment: magnitude of two operations an image; None for none.
        cutout: side of a square that is cut out.
        mixup: alpha of blending two images.
        cutmix: alpha of swapping boxes between two images.
        tta: what of an image is evaluated: itself, its `mirror` image too, or both and their
            `shift` by a pixel; see `mean_logits`.
        patience: stop when so many epochs in a row brought no higher validation accuracy; None
            not to.
        seed: of the weights, the order, the augmentation, dropout and the validation split.
        val_split: share of each class of the training set held out to choose the best epoch;
            0 for none; a dataset that brings a validation set uses that.
        normalize: `published` values of the dataset, `measured` on the training split, `none`
            (pixels 0..1), `auto`: what pretrained weights were trained with, else published
            where there are any, else measured; or numbers, as `MeanStd.parse` reads them.
        monitor: `val`, or `test` to follow the test set every epoch as well.
        precision: in which the network computes; `auto` takes bf16 where that is faster; see
            `choose_precision`.
        channels_last: store images and weights channels last; where not given, networks of the
            zoo are.
        compile: let torch compile the forward and backward pass.
        deterministic: compute only with operations that give the same numbers every time; see
            `deterministic_operations`.
        cache: `auto` decodes image files once where the images fit in memory; `off` decodes them
            every epoch. The numbers are the same.
        decode: `full` decodes every pixel of an image file; `fast` decodes large JPEG files at 1/2,
            1/4 or 1/8 of their size, where that still covers the input.
    """

    # Strict, for True is no number of epochs.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    epochs: int = Field(default=20, ge=1, description="Passes over the training set.")
    batch_size: int = Field(default=32, ge=1, description="Images per step, in all processes.")

    # the optimizer and its schedule
    optimizer: Optimizer = Field(default="adam", description="sgd, adam, adamw or muon.")
    lr: float | None = Field(
        default=None,
        gt=0,
        description="Highest learning rate.",
        json_schema_extra=_shown("0.002; sgd 0.05, muon 0.02"),
    )
    lr_rest: float | None = Field(
        default=None,
        gt=0,
        description="muon: learning rate of the parameters that adamw trains.",
        json_schema_extra=_shown("0.002"),
    )
    momentum: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Momentum of sgd and muon.",
        json_schema_extra=_shown("0.9; muon 0.95"),
    )
    nesterov: bool = Field(default=False, description="Nesterov momentum of sgd.")
    weight_decay: float | None = Field(
        default=None,
        ge=0,
        description="Weight decay (L2 penalty for sgd and adam).",
        json_schema_extra=_shown("0; adamw and muon 0.01"),
    )
    schedule: Schedule = Field(
        default="onecycle", description="constant, cosine, linear, onecycle or step."
    )
    warmup_epochs: float | None = Field(
        default=None,
        ge=0,
        description="Epochs of linear warmup.",
        json_schema_extra=_shown("0; onecycle 30 % of all"),
    )

    # the step
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Label smoothing of the loss."
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Split each batch into N parts to save memory.",
    )
    clip_grad: float | None = Field(
        default=None,
        gt=0,
        description="Largest norm of the gradient.",
        json_schema_extra=_shown("no limit"),
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Evaluate an average of the weights; decay, such as 0.999.",
        json_schema_extra=_shown("none"),
    )

    # the network
    pretrained: bool = Field(default=False, description="Start from torchvision's weights.")
    weights: str | None = Field(
        default=None,
        description="Start from the weights of a file or run.",
        json_schema_extra={**_shown("none"), "metavar": "file"},
    )
    freeze: bool = Field(default=False, description="Train only the last layer.")
    dropout: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Probability of the dropout layers.",
        json_schema_extra=_shown("the network's own"),
    )

    # augmentation
    crop: int = Field(
        default=0,
        ge=0,
        description="Shift images by up to N pixels, reflecting the border.",
        json_schema_extra=_shown(panel=AUGMENTATION_PANEL),
    )
    flip: Flip = Field(
        default="none",
        description="none, random, or alternating (every other epoch).",
        json_schema_extra=_shown(panel=AUGMENTATION_PANEL),
    )
    randaugment: int | None = Field(
        default=None,
        ge=0,
        le=MAX_RANDAUGMENT,
        description="RandAugment with two operations; magnitude, such as 9.",
        json_schema_extra=_shown("none", panel=AUGMENTATION_PANEL),
    )
    cutout: int = Field(
        default=0,
        ge=0,
        description="Cut out a square with sides of N pixels.",
        json_schema_extra=_shown(panel=AUGMENTATION_PANEL),
    )
    mixup: float = Field(
        default=0.0,
        ge=0,
        description="Mixup; alpha, such as 0.2.",
        json_schema_extra=_shown(panel=AUGMENTATION_PANEL),
    )
    cutmix: float = Field(
        default=0.0,
        ge=0,
        description="CutMix; alpha, such as 1. With mixup: one of them per batch.",
        json_schema_extra=_shown(panel=AUGMENTATION_PANEL),
    )
    tta: TestTime = Field(
        default="none",
        description="Test-time augmentation: none, mirror or shift.",
        json_schema_extra=_shown(panel=AUGMENTATION_PANEL),
    )

    # the run
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Stop after N epochs without a better validation accuracy.",
        json_schema_extra=_shown("never"),
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="Seed of everything random.",
    )
    val_split: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Held-out fraction that chooses the best epoch.",
    )
    normalize: str = Field(
        default="auto",
        description="auto, published, measured, none, or MEAN/STD.",
        json_schema_extra={**_shown(), "metavar": "VALUE"},
    )
    monitor: Monitor = Field(
        default="val", description="val, or test to evaluate the test set every epoch too."
    )

    # the machine
    precision: Precision = Field(
        default="auto",
        description="auto (bf16 where the hardware has it), fp32, bf16 or fp16.",
        json_schema_extra=_shown(panel=SPEED_PANEL),
    )
    channels_last: bool | None = Field(
        default=None,
        description="Channels-last memory format.",
        json_schema_extra=_shown("yes in the zoo", panel=SPEED_PANEL),
    )
    compile: bool = Field(
        default=False,
        description="Compile with torch.compile.",
        json_schema_extra=_shown(panel=SPEED_PANEL),
    )
    deterministic: bool = Field(
        default=False,
        description="Use only deterministic operations.",
        json_schema_extra=_shown(panel=SPEED_PANEL),
    )
    cache: Cache = Field(
        default="auto",
        description="auto keeps decoded images in memory if they fit; off does not.",
        json_schema_extra=_shown(panel=SPEED_PANEL),
    )
    decode: Decode = Field(
        default="full",
        description="full, or fast (large JPEGs at a fraction of their size).",
        json_schema_extra=_shown(panel=SPEED_PANEL),
    )

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """Return the recipe with these settings.

        Raises:
            UsageError: a setting is unknown or out of range; the message names the legal values.
        """
        return validated(cls, settings)

    @field_validator("weights", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @field_validator("normalize", mode="before")
    @classmethod
    def _as_words_or_numbers(cls, value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)  # as a file of settings may have it
        return normalize_text(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, is_given, owners in (
            ("momentum", self.momentum is not None, tuple(DEFAULT_MOMENTUMS)),
            ("nesterov", self.nesterov, ("sgd",)),
            ("lr_rest", self.lr_rest is not None, ("muon",)),
        ):
            if is_given and self.optimizer not in owners:
                raise ValueError(
                    f"{setting(name)} belongs to the optimizer {' and '.join(owners)}, not to "
                    f"{self.optimizer}"
                )
        if self.nesterov and self.momentum == 0:
            raise ValueError(f"{setting('nesterov')} needs a {setting('momentum')} above 0")
        if self.pretrained and self.weights is not None:
            raise ValueError(
                f"{setting('pretrained')} and {setting('weights')} contradict each other: leave "
                "one out"
            )
        if self.freeze and not self.pretrained and self.weights is None:
            raise ValueError(
                f"{setting('freeze')} keeps the weights of {setting('pretrained')} or "
                f"{setting('weights')}: it needs one of them"
            )
        if self.warmup_epochs is not None and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"{setting('warmup_epochs')} must be below {setting('epochs')}, and "
                f"{self.warmup_epochs:g} is not "
                f"below {self.epochs}"
            )
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"{setting('accumulate')} must be at most {setting('batch_size')}, and "
                f"{self.accumulate} is above "
                f"{self.batch_size}"
            )
        if self.augmentation.mixes and self.batch_size < 2:
            name = "mixup" if self.mixup else "cutmix"
            raise ValueError(
                f"{setting(name)} mixes two images of a batch, and {setting('batch_size')} is 1"
            )
        return self

    @property
    def augmentation(self) -> Augmentation:
        """What is done to the training images."""
        return Augmentation(
            crop=self.crop,
            flip=self.flip,
            randaugment=self.randaugment,
            cutout=self.cutout,
            mixup=self.mixup,
            cutmix=self.cutmix,
        )

    def resolved(self) -> "Recipe":
        """Return the recipe with every default of the optimizer and schedule filled in."""
        optimizer = self.optimizer
        filled: dict[str, float | None] = {
            "lr": DEFAULT_LEARNING_RATES[optimizer] if self.lr is None else self.lr,
            "weight_decay": (
                DEFAULT_WEIGHT_DECAYS[optimizer] if self.weight_decay is None else self.weight_decay
            ),
            "warmup_epochs": (
                (round(0.3 * self.epochs, 9) if self.schedule == "onecycle" else 0.0)
                if self.warmup_epochs is None
                else self.warmup_epochs
            ),
        }
        if optimizer in DEFAULT_MOMENTUMS and self.momentum is None:
            filled["momentum"] = DEFAULT_MOMENTUMS[optimizer]
        if optimizer == "muon" and self.lr_rest is None:
            filled["lr_rest"] = DEFAULT_LEARNING_RATES["adamw"]
        return self.model_copy(update=filled)


def validated(cls: type[Model], settings: Mapping[str, Any]) -> Model:
    """Return a model of these settings.

    Raises:
        UsageError: a setting is unknown or out of range; the message names the legal values.
    """
    try:
        return cls.model_validate(settings)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0]) if problem["loc"] else ""
        raise _explained(name, problem, cls) from error


def _explained(name: str, problem: Mapping[str, Any], cls: type[BaseModel]) -> UsageError:
    if problem["type"] == "extra_forbidden":
        return UsageError(
            f"unknown setting {name!r}",
            did_you_mean(name, cls.model_fields)
            or f"the settings are {', '.join(cls.model_fields)}",
        )
    wanted = requirement(problem)
    if problem["type"] == "value_error":
        return UsageError(wanted)
    return UsageError(f"{setting(name)} {wanted}, not {problem['input']!r}")
