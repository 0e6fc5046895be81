"""Duplicate images: the same file, the same pixels, or the same picture.

Near copies are found in three steps. A complete search finds all pairs whose 64-bit difference
hashes differ in few bits. That would find false copies, because hashes of simple pictures collide:
those of handwritten digits by the thousand. So the thumbnails of a pair are compared as well, and
where two images differ in size, one is resized to the size of the other in the usual ways, so
that a resized copy equals the stored thumbnail. Images with little contrast or few
pixels cannot be distinguished, and are only compared for equality.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from cnnkit.results.inspection import DuplicateGroup, DuplicateImage, Duplicates, Match
from cnnkit.stats.inspection.fingerprints import FILTER, Fingerprint, shrink
from cnnkit.stats.inspection.grey import natural_order
from cnnkit.stats.inspection.hamming import close_pairs

RADIUS = 8
"""Near copies differ in at most this many of the 64 bits of the difference hash."""

MAX_DIFFERENCE = 0.12
"""Near copies differ by at most this root mean square difference over their contrast. Among the
60,000 training digits of MNIST, which are no copies, the closest differ by 0.133."""

MAX_SMOOTH_DIFFERENCE = 0.05
"""Or by this, at 16 x 16 pixels, where the noise of a strong compression cancels and that of
another picture does not. The closest digits of MNIST differ by 0.063, the closest images of the
JPEG CIFAR-10 by 0.099."""

MAX_NOISY_DIFFERENCE = 0.35
"""Maximum of the former if the latter is met."""

MAX_COARSE_DIFFERENCE = 0.2
"""What it may be at 8 x 8 pixels, where no copy differs as much; looked at first, being cheap."""

MAX_COLOR_DIFFERENCE = 8
"""Near copies differ by at most this many of 255 levels in the mean of each color channel."""

MIN_CONTRAST = 4.0
"""Images whose thumbnails have a std below this many of 255 levels are only compared for
equality: looking alike means nothing for them."""

MIN_SIDE = 12
"""So are images with fewer pixels on a side: of 8 x 8 pixels, many a digit is like another."""

RESAMPLINGS = (
    Image.Resampling.NEAREST,
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)
PAIRS_AT_ONCE = 8192

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def find_duplicates(fingerprints: Iterable[Fingerprint], radius: int = RADIUS) -> Duplicates:
    """Return the duplicate images, within a split and across splits.

    Args:
        fingerprints: one an image, in any order.
        radius: the largest number of bits in which the difference hashes of near copies differ.
    """
    images = sorted(fingerprints, key=_order)
    first_with: dict[bytes, int] = {}
    same_pixels = [first_with.setdefault(one.pixel_digest, i) for i, one in enumerate(images)]
    distinct = list(first_with.values())
    comparison = _Comparison([images[index] for index in distinct])
    links = {index: index for index in range(len(images))}
    for index, first in enumerate(same_pixels):
        _join(links, index, first)
    worst: dict[int, tuple[int, float]] = {}
    for i, j, bits, difference in comparison.near_pairs(radius):
        a, b = distinct[i], distinct[j]
        _join(links, a, b)
        old_bits, old_difference = worst.get(b, (0, 0.0))
        worst[b] = max(old_bits, bits), max(old_difference, difference)
    plain = {distinct[i] for i in np.flatnonzero(~comparison.is_telling).tolist()}
    members: dict[int, list[int]] = {}
    for index in range(len(images)):
        members.setdefault(_root(links, index), []).append(index)
    groups = [_group(images, indices, worst) for indices in members.values() if len(indices) > 1]
    groups.sort(key=lambda group: (len(group.splits) < 2, len(group.labels) < 2))
    return Duplicates(
        num_images=len(images),
        num_plain=sum(first in plain for first in same_pixels),
        radius=radius,
        groups=tuple(groups),
    )


class _Comparison:
    """Images with different pixels, and the features they are compared by.

    Attributes:
        is_telling: bool of shape (N,): with enough contrast and pixels to be called like another.
    """

    def __init__(self, images: Sequence[Fingerprint]) -> None:
        self._images = images
        self._hashes = np.array([one.difference_hash for one in images], dtype=np.uint64)
        colors = np.array([one.color for one in images], dtype=np.int16).reshape(-1, 3)
        self._colors = np.unique(colors.T, axis=0)  # of grayscale images one row, not three
        self._sizes = np.array([one.size for one in images], dtype=np.int64).reshape(-1, 2)
        thumbnails = [_thumbnail(one) for one in images]
        self._smooth = np.empty((len(images), 256), dtype=np.uint8)
        self._coarse = np.empty((len(images), 64), dtype=np.float32)
        self._blocks = np.empty((len(images), 16), dtype=np.float32)
        self._contrast = np.empty(len(images), dtype=np.float32)
        shapes: dict[tuple[int, int], list[int]] = {}
        for index, thumbnail in enumerate(thumbnails):
            self._smooth[index] = np.asarray(thumbnail.resize((16, 16), FILTER)).reshape(-1)
            self._coarse[index] = np.asarray(thumbnail.resize((8, 8), FILTER)).reshape(-1)
            blocks = self._coarse[index].reshape(4, 2, 4, 2).mean(axis=(1, 3))
            self._blocks[index] = blocks.reshape(-1)
            self._contrast[index] = np.asarray(thumbnail).std()
            shapes.setdefault(thumbnail.size, []).append(index)
        self._thumbnails = thumbnails
        # Thumbnails of one shape as one array, so that many pairs are compared at once.
        self._shape = np.empty(len(images), dtype=np.int64)
        self._row = np.empty(len(images), dtype=np.int64)
        self._pixels: list[npt.NDArray[np.uint8]] = []
        for number, indices in enumerate(shapes.values()):
            self._shape[indices] = number
            self._row[indices] = np.arange(len(indices))
            rows = b"".join(images[index].thumbnail for index in indices)
            self._pixels.append(np.frombuffer(rows, dtype=np.uint8).reshape(len(indices), -1))
        self._is_whole = np.array([one.size == one.thumbnail_size for one in images], dtype=bool)
        is_large = (self._sizes >= MIN_SIDE).all(axis=1)
        self.is_telling: npt.NDArray[np.bool_] = is_large & (self._contrast >= MIN_CONTRAST)

    def near_pairs(self, radius: int) -> Iterator[tuple[int, int, int, float]]:
        """Yield pairs (i, j) of near copies, i before j, their bits and their difference."""
        chosen = np.flatnonzero(self.is_telling)
        # Pairs of different color could not be confirmed, so they need not be found.
        keys = self._colors[-1][chosen].astype(np.int64)
        for i, j, bits in close_pairs(self._hashes[chosen], radius, keys, MAX_COLOR_DIFFERENCE):
            first, second = chosen[np.minimum(i, j)], chosen[np.maximum(i, j)]
            for start in range(0, len(first), PAIRS_AT_ONCE):
                part = slice(start, start + PAIRS_AT_ONCE)
                yield from self._confirmed(first[part], second[part], bits[part])

    def _confirmed(
        self, i: Indices, j: Indices, bits: Indices
    ) -> Iterator[tuple[int, int, int, float]]:
        """Yield those of some pairs that the thumbnails confirm."""
        for channel in self._colors[:-1]:
            color = np.abs(channel[i] - channel[j])
            i, j, bits = _where(color <= MAX_COLOR_DIFFERENCE, i, j, bits)
        for values in (self._blocks, self._coarse):  # means differ by no more than what they are of
            coarse = _root_mean_square(values[i] - values[j])
            contrast = np.maximum(self._contrast[i], self._contrast[j])
            i, j, bits = _where(coarse <= MAX_COARSE_DIFFERENCE * contrast, i, j, bits)
        contrast = np.maximum(self._contrast[i], self._contrast[j])
        same_size = (self._sizes[i] == self._sizes[j]).all(axis=1)
        comparable = self._shape[i] == self._shape[j]
        direct = comparable & (same_size | ~(self._is_whole[i] | self._is_whole[j]))
        difference = np.full(len(i), np.inf, dtype=np.float32)
        for number in np.unique(self._shape[i[direct]]).tolist():
            where = np.flatnonzero(direct & (self._shape[i] == number))
            pixels = self._pixels[number]
            a, b = pixels[self._row[i[where]]], pixels[self._row[j[where]]]
            difference[where] = _root_mean_square(a.astype(np.float32) - b) / contrast[where]
        for pair in np.flatnonzero(~direct).tolist():
            difference[pair] = self._resized_difference(int(i[pair]), int(j[pair]))
        smooth = _root_mean_square(self._smooth[i].astype(np.float32) - self._smooth[j]) / contrast
        noisy = direct & (difference <= MAX_NOISY_DIFFERENCE) & (smooth <= MAX_SMOOTH_DIFFERENCE)
        for pair in np.flatnonzero((difference <= MAX_DIFFERENCE) | noisy).tolist():
            yield int(i[pair]), int(j[pair]), int(bits[pair]), float(difference[pair])

    def _resized_difference(self, i: int, j: int) -> float:
        """Return the minimum difference of two images of different size, as either may be a copy.

        The thumbnail of a small image is the image, so resizing it and shrinking the outcome gives
        what the thumbnail of a resized copy would be.
        """
        found = [_difference(*_to_common_size(self._thumbnails[i], self._thumbnails[j]))]
        for small, other in ((i, j), (j, i)):
            if self._is_whole[small]:
                for resampling in RESAMPLINGS:
                    copy = self._thumbnails[small].resize(self._images[other].size, resampling)
                    found.append(_difference(shrink(copy), self._thumbnails[other]))
        return min(found)


def _thumbnail(one: Fingerprint) -> Image.Image:
    return Image.frombytes("L", one.thumbnail_size, one.thumbnail)


def _to_common_size(a: Image.Image, b: Image.Image) -> tuple[Image.Image, Image.Image]:
    size = min(a.width, b.width), min(a.height, b.height)
    return a.resize(size, FILTER), b.resize(size, FILTER)


def _difference(a: Image.Image, b: Image.Image) -> float:
    """Return the root mean square difference of two images of one size, over their contrast."""
    first, second = np.asarray(a, dtype=np.float32), np.asarray(b, dtype=np.float32)
    contrast = max(first.std(), second.std(), MIN_CONTRAST)
    return float(np.sqrt(((first - second) ** 2).mean()) / contrast)


def _where(
    holds: npt.NDArray[np.bool_], i: Indices, j: Indices, bits: Indices
) -> tuple[Indices, Indices, Indices]:
    return i[holds], j[holds], bits[holds]


def _root_mean_square(values: Floats) -> Floats:
    """Return the root mean square of each row."""
    means: Floats = np.sqrt(np.einsum("ij,ij->i", values, values) / values.shape[1])
    return means


def _order(one: Fingerprint) -> tuple[int, str, list[str | int]]:
    """Return the sort key of images: training images first, each split by name."""
    known = ("train", "val", "test")
    rank = known.index(one.split) if one.split in known else len(known)
    return rank, one.split, natural_order(one.name)


def _root(links: dict[int, int], index: int) -> int:
    """Return the root image of the group of an image."""
    root = index
    while links[root] != root:
        root = links[root]
    while links[index] != root:  # path compression
        links[index], index = root, links[index]
    return root


def _join(links: dict[int, int], a: int, b: int) -> None:
    first, second = sorted((_root(links, a), _root(links, b)))
    links[second] = first


def _group(
    images: Sequence[Fingerprint], indices: Sequence[int], worst: dict[int, tuple[int, float]]
) -> DuplicateGroup:
    files: set[bytes] = set()
    pixels: set[bytes] = set()
    found: list[DuplicateImage] = []
    for index in indices:
        one = images[index]
        match: Match = "near" if found else "first"
        if one.file_digest in files:
            match = "bytes"
        elif one.pixel_digest in pixels:
            match = "pixels"
        if one.file_digest is not None:
            files.add(one.file_digest)
        pixels.add(one.pixel_digest)
        found.append(DuplicateImage(one.name, one.label, one.split, match))
    links = [worst[index] for index in indices if index in worst]
    return DuplicateGroup(
        images=tuple(found),
        distance=max((bits for bits, _ in links), default=0),
        difference=max((difference for _, difference in links), default=0.0),
    )
