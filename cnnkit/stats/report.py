"""The result of the verb, computed from a measurement."""

from cnnkit.data.datasets import DATASETS
from cnnkit.data.opening import ALL
from cnnkit.errors import RunFailedError, UsageError
from cnnkit.results.inspection import Duplicates, ImageIssues
from cnnkit.results.stats import DatasetStatistics, PublishedStats, Weighting
from cnnkit.stats.counting import against_published, summarized
from cnnkit.stats.saved_counts import Measurement


def summarize(
    measured: Measurement,
    weighting: Weighting,
    duplicates: Duplicates | None = None,
    issues: ImageIssues | None = None,
) -> DatasetStatistics:
    """Return the statistics of a measurement.

    Args:
        measured: the integers.
        weighting: whether every pixel counts the same, or every image.
        duplicates: duplicate images.
        issues: images with issues.

    Raises:
        UsageError: there are no images.
        RunFailedError: none could be decoded.
    """
    tally = measured.tally
    figures = summarized.mean_and_std(tally, weighting)
    if figures is None and measured.shard is None:
        first = min(tally.bad, default=None)
        if first is None:
            raise UsageError(f"{measured.dataset!r} has no images", "there is nothing to measure")
        raise RunFailedError(
            f"none of the {len(tally.bad):,} files of {measured.dataset!r} could be decoded, "
            f"such as {summarized.printable(first[0])}: {first[1]}",
            "repair them, or name another dataset",
        )
    seconds = measured.seconds
    over_images = summarized.means_over_images(tally)
    errors = None
    if measured.population is not None:
        errors = summarized.errors(tally, measured.population, weighting)
    classes = summarized.class_stats(tally, measured.classes, weighting)
    is_in_memory = not tally.formats
    return DatasetStatistics(
        dataset=measured.dataset,
        split=measured.split,
        num_images=tally.num_images,
        num_pixels=tally.num_pixels,
        mean=figures.mean if figures else None,
        std=figures.std if figures else None,
        mean_of_image_means=over_images.mean if over_images else None,
        mean_of_image_stds=over_images.std if over_images else None,
        exact=measured.population is None,
        weighting=weighting,
        transform=measured.transform or None,
        bit_depth=(16 if tally.bins == 65536 else 8) if figures else None,
        num_listed=measured.population or tally.num_images + len(tally.bad),
        mean_error=errors.mean if errors else None,
        std_error=errors.std if errors else None,
        channels=summarized.channel_stats(tally),
        classes=classes,
        imbalance=summarized.imbalance(one.num_images for one in classes),
        sizes=summarized.size_stats(tally),
        modes=dict(tally.modes.most_common()),
        formats=dict(tally.formats.most_common()),
        num_grey=tally.num_grey,
        changes=dict(sorted(tally.changes.items())),
        num_oriented=tally.num_oriented,
        num_bytes=None if is_in_memory else tally.num_bytes,
        bad_files=summarized.bad_files(tally),
        duplicates=duplicates,
        issues=issues,
        published=_own_published(measured, figures, over_images),
        against=None,
        shard=f"{measured.shard[0]}/{measured.shard[1]}" if measured.shard else None,
        seconds=seconds,
        images_per_second=tally.num_images / seconds if seconds > 0 else 0.0,
    )


def _own_published(
    measured: Measurement,
    figures: summarized.MeanAndStd | None,
    over_images: summarized.MeanAndStd | None,
) -> PublishedStats | None:
    """Return the published mean and std of the dataset, which are of its training images."""
    entry = DATASETS.get(measured.dataset)
    if entry is None or entry.published is None or figures is None or over_images is None:
        return None
    one_whole = all(split.derived for split in entry.splits.values())
    is_theirs = measured.split == "train" or (measured.split == ALL and one_whole)
    if not is_theirs or measured.shard or measured.transform or measured.population is not None:
        return None
    return against_published.compare_published(entry.published, figures, over_images)
