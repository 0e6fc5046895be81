"""Keeping in a run which image files it has used: by their content, whatever they are called."""

import numpy as np

from cnnkit.data.content_hashes import ContentHashes
from cnnkit.data.image_set import DecodedSet, EncodedSet, ImageSet
from cnnkit.runs.folder import RunFolder
from cnnkit.runs.resolved import ResolvedRun


def keep_seen(resolved: ResolvedRun, run: RunFolder) -> None:
    """Write the hashes of the files that are trained on and validated with, if all are known.

    They are not yet where files are decoded in every epoch, and nothing was measured on them.

    Raises:
        UnavailableError: no space, no permission.
    """
    used = _used(resolved)
    if used and all(isinstance(images, DecodedSet) or own.is_complete for images, own in used):
        _write(used, run)


def keep_all_seen(resolved: ResolvedRun, run: RunFolder) -> None:
    """Write these hashes after the training; files that were not read yet are read for it.

    Raises:
        UnavailableError: no space, no permission.
    """
    used, group = _used(resolved), resolved.group
    for images, own in used:
        for rows in group.gather(own.rows):
            own.add(rows)
        if isinstance(images, EncodedSet) and group.is_first:
            large = resolved.setup.preprocessing.allow_large
            own.read_missing(images.files, resolved.place.num_workers, large)
    if used and group.is_first:
        _write(used, run)


def _used(resolved: ResolvedRun) -> list[tuple[ImageSet, ContentHashes]]:
    """Return the sets of files that were trained on, or chose the best epoch, and their hashes."""
    data = resolved.data
    pairs = ((data.train, data.train_hashes), (data.val, data.val_hashes))
    return [
        (images, hashes) for images, hashes in pairs if images is not None and hashes is not None
    ]


def _write(used: list[tuple[ImageSet, ContentHashes]], run: RunFolder) -> None:
    found = np.unique(np.concatenate([hashes.known() for _, hashes in used]))
    run.write_seen_images(found.tobytes())
