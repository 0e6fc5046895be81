"""Whole batches against the same images changed one by one, and what chance is to look like."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest, chisquare, kstest
from torchvision.transforms.v2 import functional as v2

from cnnkit.data.encoded import EncodedFiles
from cnnkit.data.image_set import EncodedSet, ImageSet, TensorSet
from cnnkit.data.loading import batches as batches_module
from cnnkit.data.loading import tensor_batches
from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.augmenting import Augmenter, shifted
from cnnkit.data.loading.batches import Batches
from cnnkit.data.loading.batching import make_batches
from cnnkit.data.loading.file_batches import FileBatches
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.data.loading.tensor_batches import TensorBatches
from cnnkit.errors import UsageError

CPU = torch.device("cpu")
SIDE = 12
TREATED = Preprocessing(3, SIDE, SIDE, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
EVERYTHING = Augmentation(
    crop=2, flip="alternating", randaugment=9, cutout=4, mixup=0.4, cutmix=1.0
)
CLASSES = ("a", "b", "c")


def random_images(number: int, channels: int = 3, height: int = SIDE, width: int = SIDE) -> object:
    generator = torch.Generator().manual_seed(number)
    shape = (number, channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def augmenter(number: int, seed: int = 0, epoch: int = 1, **changes: object) -> Augmenter:
    return Augmenter(Augmentation(**changes), seed, epoch, number, len(CLASSES), CPU)  # type: ignore[arg-type]


@pytest.fixture
def in_memory() -> TensorSet:
    images = random_images(65)
    return TensorSet("x", "train", CLASSES, torch.arange(65) % 3, 3, (SIDE, SIDE), images)


@pytest.fixture
def in_files(in_memory: TensorSet, tmp_path: Path) -> EncodedSet:
    paths = []
    for number, image in enumerate(in_memory.images):
        path = tmp_path / f"{number}.png"
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
        paths.append(str(path))
    files = EncodedFiles(tuple(paths))
    return EncodedSet("x", "train", CLASSES, in_memory.labels, 3, (SIDE, SIDE), files)


def epoch_of(batches: Batches, seed: int = 3, epoch: int = 2, first: int = 0) -> list[object]:
    return list(batches.shuffled(seed, epoch, first))


def assert_same(ours: list[object], theirs: list[object]) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])
        assert torch.equal(one[2], other[2])


@given(st.integers(1, 9), st.sampled_from([1, 3]), st.integers(2, 9), st.integers(2, 9), st.data())
def test_shifted_and_mirrored_as_torchvision_does_one_by_one(
    number: int, channels: int, height: int, width: int, data: st.DataObject
) -> None:
    images = random_images(number, channels, height, width)
    crop = data.draw(st.integers(0, min(height, width) - 1))
    offset = st.integers(-crop, crop)
    offsets = data.draw(st.lists(st.tuples(offset, offset), min_size=number, max_size=number))
    mirrored = data.draw(st.lists(st.booleans(), min_size=number, max_size=number))
    found = shifted(images, torch.tensor(offsets), torch.tensor(mirrored))
    assert found.dtype == torch.uint8
    padding = ((0, 0), (crop, crop), (crop, crop))
    for image, (down, right), is_mirrored, got in zip(
        images, offsets, mirrored, found, strict=True
    ):
        padded = torch.from_numpy(np.pad(image.numpy(), padding, mode="reflect"))
        wanted = v2.crop(padded, crop + down, crop + right, height, width)
        assert torch.equal(got, v2.horizontal_flip(wanted) if is_mirrored else wanted)
    only_mirrored = shifted(images, None, torch.tensor(mirrored))
    for image, is_mirrored, got in zip(images, mirrored, only_mirrored, strict=True):
        assert torch.equal(got, v2.horizontal_flip(image) if is_mirrored else image)
    assert shifted(images, None, None) is images


def place_of_marks(number: int, **changes: object) -> torch.Tensor:
    """Return where one bright pixel in the middle of each image is moved to, of shape (N, 2)."""
    images = torch.zeros(number, 1, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4] = 1
    found = augmenter(number, **changes).moved(images, torch.arange(number))
    places = found[:, 0].flatten(1).argmax(1)
    return torch.stack(torch.unravel_index(places, (9, 9)), 1)


def test_every_offset_is_equally_likely() -> None:
    places = place_of_marks(9 * 25 * 40, crop=2)
    counts = torch.bincount((places[:, 0] - 2) * 5 + places[:, 1] - 2, minlength=25)
    assert counts.sum() == 9000
    assert chisquare(counts.numpy()).pvalue > 0.01


def test_epochs_seeds_and_images_are_drawn_apart() -> None:
    drawn = {
        key: place_of_marks(2000, crop=2, seed=key[0], epoch=key[1])
        for key in [(0, 1), (0, 2), (1, 1)]
    }
    for one, other in [((0, 1), (0, 2)), ((0, 1), (1, 1)), ((0, 2), (1, 1))]:
        same = int((drawn[one] == drawn[other]).all(1).sum())
        assert binomtest(same, 2000, 1 / 25).pvalue > 0.001
    assert torch.equal(drawn[0, 1], place_of_marks(2000, crop=2))
    # What else is drawn does not change where an image is moved.
    other_images = random_images(2000, 1, 9, 9)
    more = augmenter(2000, crop=2, flip="none", cutout=3, mixup=1.0)
    alone = augmenter(2000, crop=2)
    rows = torch.arange(2000)
    assert torch.equal(more.moved(other_images, rows), alone.moved(other_images, rows))


def mirrored_in(flip: str, epoch: int, number: int = 4000) -> torch.Tensor:
    ramp = torch.arange(5, dtype=torch.uint8).expand(number, 1, 5, 5)
    found = augmenter(number, epoch=epoch, flip=flip).moved(ramp, torch.arange(number))
    return found[:, 0, 0, 0] == 4


def test_alternating_shows_each_image_once_each_way_in_two_epochs() -> None:
    epochs = [mirrored_in("alternating", epoch) for epoch in range(1, 6)]
    for one, following in pairwise(epochs):
        assert torch.equal(one, ~following)
    assert binomtest(int(epochs[0].sum()), 4000).pvalue > 0.001
    by_chance = [mirrored_in("random", epoch) for epoch in (1, 2)]
    for epoch in by_chance:
        assert binomtest(int(epoch.sum()), 4000).pvalue > 0.001
    assert binomtest(int((by_chance[0] == by_chance[1]).sum()), 4000).pvalue > 0.001


@pytest.mark.parametrize("side", [1, 4, 5, SIDE])
def test_cutout_sets_one_square_anywhere_to_zero(side: int) -> None:
    number = 4000
    images = torch.ones(number, 3, SIDE, SIDE)
    found = augmenter(number, cutout=side).cut(images, torch.arange(number))
    assert found is images
    assert torch.equal(found[:, 0], found[:, 1])
    centres = []
    for image in found[:400, 0].numpy():
        rows, columns = np.nonzero(image == 0)
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        assert (image[top:bottom, left:right] == 0).all()
        assert len(rows) == (bottom - top) * (right - left)
        for first, last in ((top, bottom), (left, right)):
            # whole, or cut at the edge with its centre still within
            assert last - first == side or (first == 0 or last == SIDE)
            assert last - first >= side // 2
        centres.append(top)
    if side == 1:
        counts = (found == 0)[:, 0].flatten(1).sum(0)
        assert chisquare(counts.numpy()).pvalue > 0.01
    assert len(set(centres)) > 1


def mix(step: int, number: int = 10, **changes: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch whose image i is i everywhere, mixed, and its labels, which are i too."""
    images = torch.arange(number).float()[:, None, None, None].repeat(1, 3, 8, 11)
    made = Augmenter(Augmentation(**changes), 0, 1, number, number, CPU)  # type: ignore[arg-type]
    return made.mixed(images, torch.arange(number), step)


@pytest.mark.parametrize("number", [2, 10, 11])
def test_the_shares_of_cutmix_are_those_of_the_pixels_exactly(number: int) -> None:
    sizes = set()
    for step in range(200):
        images, shares = mix(step, number, cutmix=1.0)
        for image, row in zip(images, shares, strict=True):
            counts = torch.bincount(image[0].flatten().long(), minlength=number)
            assert torch.equal(row, (counts / counts.sum()).float())
        assert torch.equal(shares.sum(1), torch.ones(number))
        if number % 2:
            assert shares[-1, -1] == 1
        box = (images[0, 0] == 1).nonzero()
        if len(box):
            extent = box.max(0).values - box.min(0).values + 1
            assert extent.prod() == len(box)
            sizes.add(len(box))
    assert len(sizes) > 20


def test_the_shares_of_mixup_are_those_of_the_blend_and_beta_distributed() -> None:
    own = []
    for step in range(1000):
        images, shares = mix(step, 4, mixup=0.5)
        values = shares @ torch.arange(4.0)
        torch.testing.assert_close(images[:, 0, 0, 0], values)
        assert torch.equal(shares.sum(1), torch.ones(4))
        assert torch.equal(images, images[:, :1, :1, :1].expand_as(images))
        own.append(float(shares[0, 0]))
    assert kstest(own, "beta", args=(0.5, 0.5)).pvalue > 0.01


def test_boxes_of_cutmix_have_the_area_of_beta_and_the_shape_of_the_image() -> None:
    """Where no edge cuts them: alpha 1 makes every share equally likely."""
    made = Augmenter(Augmentation(cutmix=1.0), 0, 1, 2, 2, CPU)
    areas = []
    for step in range(600):
        images = torch.tensor([0.0, 1.0])[:, None, None, None].repeat(1, 1, 50, 100)
        mixed, _ = made.mixed(images, torch.tensor([0, 1]), step)
        box = (mixed[0, 0] == 1).nonzero()
        if not len(box):
            areas.append(0.0)
            continue
        first, last = box.min(0).values, box.max(0).values + 1
        height, width = (last - first).tolist()
        if first.min() > 0 and last[0] < 50 and last[1] < 100:
            assert abs(height / 50 - width / 100) <= 0.75 / 50  # as both are rounded
        areas.append(height * width / 5000)
    # A side s of it keeps s - s^2 / 4 on average, and s^2 is uniform: 1/2 - 1/5 + 1/48.
    assert np.mean(areas) == pytest.approx(1 / 2 - 1 / 5 + 1 / 48, abs=0.03)


def test_with_both_each_batch_gets_one_by_chance() -> None:
    kinds = []
    for step in range(400):
        images, _ = mix(step, 2, mixup=1.0, cutmix=1.0)
        is_blended = bool((images[0] != images[0].round()).any())
        kinds.append(is_blended)
    assert binomtest(sum(kinds), 400).pvalue > 0.001
    assert mix(7, mixup=1.0)[1].equal(mix(7, mixup=1.0)[1])


def test_labels_of_one_class_stay_whole() -> None:
    made = augmenter(4, mixup=1.0)
    _, shares = made.mixed(torch.rand(4, 1, 3, 3), torch.tensor([1, 1, 0, 2]), 0)
    assert torch.equal(shares[0], torch.tensor([0.0, 1.0, 0.0]))
    labels = torch.tensor([1, 1, 0, 2])
    images = torch.rand(4, 1, 3, 3)
    found = augmenter(4, crop=1).mixed(images, labels, 0)
    assert found[0] is images
    assert found[1] is labels


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_memory_and_files_are_augmented_alike_by_any_number_of_workers(
    in_memory: TensorSet, in_files: EncodedSet, num_workers: int
) -> None:
    def batches(images: ImageSet) -> Batches:
        return make_batches(
            images, TREATED, 16, CPU, num_workers=num_workers, augmentation=EVERYTHING
        )

    whole = epoch_of(batches(in_memory))
    assert_same(epoch_of(batches(in_files)), whole)
    for first in range(1, 4):
        assert_same(epoch_of(batches(in_memory), first=first), whole[first:])
        assert_same(epoch_of(batches(in_files), first=first), whole[first:])


def test_an_image_is_changed_alike_in_any_batch(in_memory: TensorSet) -> None:
    changes = Augmentation(crop=3, flip="random", randaugment=12, cutout=5)

    def by_image(batch_size: int) -> dict[int, torch.Tensor]:
        batches = TensorBatches(in_memory, TREATED, batch_size, CPU, augmentation=changes)
        order = batches_module.epoch_order(65, 3, 2).tolist()
        images = torch.cat([images for _, images, _ in epoch_of(batches)])
        return dict(zip(order, images, strict=True))

    ours, theirs = by_image(4), by_image(65)
    assert all(torch.equal(ours[index], theirs[index]) for index in range(65))
    plain = dict(enumerate(TREATED.normalize(in_memory.images)))
    assert not any(torch.equal(ours[index], plain[index]) for index in range(65))


def test_the_numbers_do_not_depend_on_the_chunk(
    in_memory: TensorSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = epoch_of(TensorBatches(in_memory, TREATED, 4, CPU, augmentation=EVERYTHING))
    monkeypatch.setattr(tensor_batches, "CHUNK_BYTES", 1)
    assert_same(
        epoch_of(TensorBatches(in_memory, TREATED, 4, CPU, augmentation=EVERYTHING)), wanted
    )


def test_the_layout_is_kept_and_the_set_is_not_changed(in_memory: TensorSet) -> None:
    before = in_memory.images.clone()
    batches = TensorBatches(in_memory, TREATED, 16, CPU, torch.channels_last, EVERYTHING)
    plain = TensorBatches(in_memory, TREATED, 16, CPU, augmentation=EVERYTHING)
    assert_same(epoch_of(batches), epoch_of(plain))
    for _, images, _ in batches.shuffled(0, 1):
        assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(in_memory.images, before)
    images, labels = next(batches.ordered())  # of an evaluation: as they are
    assert torch.equal(images, TREATED.normalize(before[:16]))
    assert torch.equal(labels, in_memory.labels[:16])


def test_left_out_images_change_no_other(in_files: EncodedSet) -> None:
    changes = Augmentation(crop=3, flip="random", cutout=5)
    whole = epoch_of(FileBatches(in_files, TREATED, 65, CPU, augmentation=changes))
    assert isinstance(in_files.files, EncodedFiles)
    Path(in_files.files.items[7]).write_bytes(b"")
    kept = epoch_of(FileBatches(in_files, TREATED, 65, CPU, skip_bad=True, augmentation=changes))
    place = batches_module.epoch_order(65, 3, 2).tolist().index(7)
    stays = [row for row in range(65) if row != place]
    assert torch.equal(kept[0][1], whole[0][1][stays])


def test_nothing_is_drawn_from_the_random_numbers_of_others(in_memory: TensorSet) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    state = torch.get_rng_state()
    epoch_of(TensorBatches(in_memory, TREATED, 16, CPU, augmentation=EVERYTHING))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.randint(2**31) == np.random.RandomState(5).randint(2**31)


def test_what_does_not_fit_the_size_is_refused() -> None:
    Augmentation(crop=7, cutout=8).check(8, 9)
    with pytest.raises(
        UsageError, match=r"crop 8 is too large for images of 8x9.*at most 7 pixels"
    ):
        Augmentation(crop=8).check(8, 9)
    with pytest.raises(UsageError, match="cutout 9 is larger than images of 8x9"):
        Augmentation(cutout=9).check(8, 9)


def test_the_sentence_tells_all_that_is_done() -> None:
    assert Augmentation().sentence() == ""
    assert EVERYTHING.sentence() == (
        "shifted by up to 2 pixels, mirrored in every other epoch, RandAugment of magnitude 9, a "
        "square of 4 pixels cut out, mixup 0.4 or cutmix 1"
    )
    assert Augmentation(crop=1, flip="random").sentence() == (
        "shifted by up to 1 pixel, mirrored by chance"
    )
