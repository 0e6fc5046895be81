"""The request: what to measure and how, validated before any work begins."""

from dataclasses import dataclass, field
from pathlib import Path

from cnnkit.errors import UsageError, setting
from cnnkit.stats.counting.transform import Transform
from cnnkit.system.device import num_usable_cores


@dataclass(frozen=True)
class Request:
    """A requested measurement; the fields are those of `measure_dataset`.

    Attributes:
        with_fingerprint: whether to compute the fingerprint of the images, as parts need.

    Raises:
        UsageError: options contradict each other or are invalid.
    """

    spec: str
    split: str | None = None
    data_dir: Path | None = None
    download: bool = True
    transform: Transform = field(default_factory=Transform)
    allow_large: bool = False
    limit: int | None = None
    seed: int = 0
    shard: tuple[int, int] | None = None
    with_fingerprint: bool = False
    duplicates: bool = False
    issues: bool = False
    cache: Path | None = None
    num_workers: int = field(default_factory=num_usable_cores)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(
                f"{setting('limit')} {self.limit} measures nothing", "the minimum is 1"
            )
        if self.seed < 0:
            raise UsageError(f"{setting('seed')} {self.seed} is below 0", "the minimum is 0")
        if self.num_workers < 0:
            raise UsageError(
                f"{setting('num_workers')} {self.num_workers} is below 0", "0 decodes in one thread"
            )
        if self.limit is not None and self.duplicates:
            raise UsageError(
                f"{setting('limit')} and {setting('duplicates')} contradict each other",
                "most copies would be outside the sample; leave one out",
            )
        if self.shard is None:
            return
        number, of = self.shard
        if not 1 <= number <= of:
            raise UsageError(
                f"there is no part {number} of {of}", f"such as {setting('shard')} 3/8"
            )
        for option, given in (
            (setting("limit"), self.limit),
            (setting("duplicates"), self.duplicates),
        ):
            if given:
                raise UsageError(
                    f"{option} and {setting('shard')} contradict each other",
                    "a part does not know the others; leave one out",
                )

    def check_for_labels(self) -> None:
        """Refuse options that need pixels if only labels are counted.

        Raises:
            UsageError: such an option was given.
        """
        options = {
            setting("transform"): self.transform.steps,
            setting("limit"): self.limit,
            setting("shard"): self.shard,
            setting("save_to"): self.with_fingerprint,
            setting("duplicates"): self.duplicates,
            setting("issues"): self.issues,
            setting("cache"): self.cache,
        }
        for option, given in options.items():
            if given:
                raise UsageError(
                    f"{setting('labels_only')} decodes nothing, so {option} has no meaning",
                    "leave one out",
                )
