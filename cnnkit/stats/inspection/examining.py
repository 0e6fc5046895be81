"""Examinations of images while they are decoded: duplicates, and issues."""

from cnnkit.data.decode import DecodedImage
from cnnkit.data.encoded import EncodedImage
from cnnkit.data.histogram import Counts
from cnnkit.data.image_set import TensorSet
from cnnkit.events import TaskAdvanced, TaskEnded, TaskStarted, emit
from cnnkit.results.inspection import Duplicates, ImageIssues
from cnnkit.stats.counting.count_files import Examination
from cnnkit.stats.counting.count_tensors import to_pillow
from cnnkit.stats.inspection.duplicates import find_duplicates
from cnnkit.stats.inspection.fingerprints import FingerprintCollector
from cnnkit.stats.inspection.quality import QualityCollector
from cnnkit.system.distributed import ProcessGroup

TASK = "inspect images"
EVENT_IMAGES = 256


class Examinations:
    """The examinations requested beside statistics, and their findings so far.

    Args:
        duplicates: whether to find duplicate images.
        issues: whether to find blank, very dark, very bright and blurred images.

    Attributes:
        fingerprints: of every image; None if duplicates are not requested.
        quality: of every image; None if issues are not requested.
    """

    def __init__(self, duplicates: bool, issues: bool) -> None:
        self.fingerprints = FingerprintCollector() if duplicates else None
        self.quality = QualityCollector() if issues else None

    def of_files(self, with_quality: bool = True) -> tuple[Examination, ...]:
        """Return the examinations of every decoded file."""
        fingerprints, quality = self.fingerprints, self.quality if with_quality else None

        def take(image: EncodedImage, content: bytes, decoded: DecodedImage, _: Counts) -> None:
            pixels = decoded.pixels
            if fingerprints is not None:
                fingerprints.add(
                    image.name,
                    pixels,
                    label=image.class_name or None,
                    split=image.split,
                    content=content,
                )
            if quality is not None:
                quality.add(image.name, pixels)

        return () if fingerprints is None and quality is None else (take,)

    def of_tensors(self, images: TensorSet, split: str, with_quality: bool = True) -> None:
        """Examine every image of a set in memory."""
        quality = self.quality if with_quality else None
        if self.fingerprints is None and quality is None:
            return
        emit(TaskStarted(TASK, len(images), "images"))
        for number, label in enumerate(images.labels.tolist()):
            if number % EVENT_IMAGES == 0:
                emit(TaskAdvanced(TASK, number))
            name = f"{images.dataset} {split} {number}"
            pixels = to_pillow(images.images[number])
            if self.fingerprints is not None:
                self.fingerprints.add(
                    name, pixels, label=images.classes[label], split=split, content=None
                )
            if quality is not None:
                quality.add(name, pixels)
        emit(TaskEnded(TASK))

    def combine(self, group: ProcessGroup) -> None:
        """Merge the findings of all ranks on every rank."""

        def fingerprints(own: FingerprintCollector) -> FingerprintCollector:
            together = FingerprintCollector()
            for one in group.gather(own.fingerprints):
                together.extend(one)
            return together

        def quality(own: QualityCollector) -> QualityCollector:
            together = QualityCollector()
            for number, images in group.gather((own.num_images, own.found)):
                together.extend(number, images)
            return together

        if self.fingerprints is not None:
            self.fingerprints = group.combined(self.fingerprints, fingerprints)
        if self.quality is not None:
            self.quality = group.combined(self.quality, quality)

    def duplicates(self) -> Duplicates | None:
        """Return the duplicate images; None if not requested."""
        if self.fingerprints is None:
            return None
        return find_duplicates(self.fingerprints.fingerprints)

    def issues(self) -> ImageIssues | None:
        """Return the images with issues; None if not requested."""
        return None if self.quality is None else self.quality.result()
