from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnkit.data.encoded import EncodedFiles
from cnnkit.data.image_set import EncodedSet, TensorSet
from cnnkit.data.loading import tensor_batches
from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.batches import Batches, epoch_order
from cnnkit.data.loading.batching import make_batches
from cnnkit.data.loading.file_batches import FileBatches, decoded
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.data.loading.tensor_batches import TensorBatches
from cnnkit.data.normalization import measure_channels
from cnnkit.errors import RunFailedError

CPU = torch.device("cpu")
TREATED = Preprocessing(3, 8, 8, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


@pytest.fixture
def in_memory() -> TensorSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (65, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return TensorSet("x", "train", ("a", "b"), torch.arange(65) % 2, 3, (8, 8), images)


@pytest.fixture
def in_files(in_memory: TensorSet, tmp_path: Path) -> EncodedSet:
    paths = []
    for number, image in enumerate(in_memory.images):
        path = tmp_path / f"{number}.png"
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
        paths.append(str(path))
    files = EncodedFiles(tuple(paths))
    return EncodedSet("x", "train", ("a", "b"), in_memory.labels, 3, (8, 8), files)


def everything(batches: Batches, seed: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    if seed is None:
        parts = list(batches.ordered())
    else:
        parts = [(images, labels) for _, images, labels in batches.shuffled(seed, 1)]
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_memory_and_files_give_the_same_batches(
    in_memory: TensorSet, in_files: EncodedSet, num_workers: int
) -> None:
    for seed in (None, 7):
        ours = everything(make_batches(in_memory, TREATED, 16, CPU), seed)
        theirs = everything(make_batches(in_files, TREATED, 16, CPU, num_workers=num_workers), seed)
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_every_image_comes_once_in_an_order_of_seed_and_epoch() -> None:
    assert sorted(epoch_order(100, 0, 1).tolist()) == list(range(100))
    orders = {
        tuple(epoch_order(100, seed, epoch).tolist()) for seed in range(3) for epoch in (1, 2)
    }
    assert len(orders) == 6
    assert torch.equal(epoch_order(100, 2, 5), epoch_order(100, 2, 5))


def test_a_single_image_left_over_joins_the_batch_before(in_memory: TensorSet) -> None:
    batches = TensorBatches(in_memory, TREATED, 16, CPU)
    assert [len(labels) for _, _, labels in batches.shuffled(0, 1)] == [16, 16, 16, 17]
    assert [len(labels) for _, labels in batches.ordered()] == [16, 16, 16, 16, 1]
    assert batches.num_batches == 4
    alone = TensorBatches(in_memory.subset(torch.tensor([3])), TREATED, 16, CPU)
    assert [len(labels) for _, _, labels in alone.shuffled(0, 1)] == [1]


def test_the_numbers_do_not_depend_on_the_chunk(
    in_memory: TensorSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = everything(TensorBatches(in_memory, TREATED, 4, CPU), 3)
    monkeypatch.setattr(tensor_batches, "CHUNK_BYTES", 1)
    assert torch.equal(everything(TensorBatches(in_memory, TREATED, 4, CPU), 3)[0], wanted[0])


def test_a_set_too_large_to_keep_resized_is_resized_batch_by_batch(
    in_memory: TensorSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    treated = Preprocessing(3, 20, 20, (0.5,) * 3, (0.2,) * 3)
    wanted = everything(TensorBatches(in_memory, treated, 4, CPU))
    monkeypatch.setattr(tensor_batches, "MAX_RESIZED_BYTES", 0)
    late = TensorBatches(in_memory, treated, 4, CPU)
    assert late._images.shape[-1] == 8
    assert torch.equal(everything(late)[0], wanted[0])


def test_the_layout_is_the_one_asked_for(in_memory: TensorSet) -> None:
    batches = TensorBatches(in_memory, TREATED, 16, CPU, torch.channels_last)
    images, _ = next(batches.ordered())
    assert images.is_contiguous(memory_format=torch.channels_last)


def break_file(images: EncodedSet, index: int) -> str:
    assert isinstance(images.files, EncodedFiles)
    path = Path(images.files.items[index])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return str(path)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_image_is_named(in_files: EncodedSet, num_workers: int) -> None:
    path = break_file(in_files, 20)
    batches = FileBatches(in_files, TREATED, 16, CPU, num_workers=num_workers)
    with pytest.raises(RunFailedError, match=f"broken image {path}: .*skip_bad"):
        list(batches.ordered())


def test_a_broken_image_is_left_out_and_counted_never_replaced(in_files: EncodedSet) -> None:
    whole = everything(FileBatches(in_files, TREATED, 16, CPU))
    paths = {break_file(in_files, 20), break_file(in_files, 64)}
    batches = FileBatches(in_files, TREATED, 16, CPU, num_workers=2, skip_bad=True)
    images, labels = everything(batches)
    kept = [row for row in range(65) if row not in (20, 64)]
    assert torch.equal(images, whole[0][kept])
    assert torch.equal(labels, whole[1][kept])
    assert batches.skipped == paths
    everything(batches, 1)
    assert len(batches.skipped) == 2


@pytest.mark.parametrize("broken", [(), (20, 64), tuple(range(16, 33))])
def test_files_decoded_once_give_the_batches_of_the_files(
    in_files: EncodedSet, broken: tuple[int, ...]
) -> None:
    paths = {break_file(in_files, index) for index in broken}
    changes = Augmentation(crop=2, flip="random", cutout=3, mixup=0.5)
    once = decoded(in_files, TREATED, 2, True)
    assert once.broken == paths
    assert (~once.is_whole).sum() == len(broken)
    ours = make_batches(once, TREATED, 8, CPU, augmentation=changes)
    theirs = make_batches(
        in_files, TREATED, 8, CPU, num_workers=1, skip_bad=True, augmentation=changes
    )
    assert ours.skipped == paths
    for first in (0, 3):
        pairs = zip(ours.shuffled(1, 2, first), theirs.shuffled(1, 2, first), strict=True)
        for (number, *our_tensors), (their_number, *their_tensors) in pairs:
            assert number == their_number
            assert all(map(torch.equal, our_tensors, their_tensors))
    for our_batch, their_batch in zip(ours.ordered(), theirs.ordered(), strict=True):
        assert all(map(torch.equal, our_batch, their_batch))
    plain = Preprocessing(3, 8, 8, (0.0,) * 3, (1.0,) * 3)
    ours, theirs = (measure_channels([one], plain, 0, True) for one in (once, in_files))
    assert ours == theirs
    assert ours.num_images == 65 - len(broken)
    half = once.subset(torch.arange(10, 30))
    assert torch.equal(half.is_whole, once.is_whole[10:30])


def test_a_broken_file_is_named_when_all_are_decoded(in_files: EncodedSet) -> None:
    path = break_file(in_files, 20)
    with pytest.raises(RunFailedError, match=f"broken image {path}: .*skip_bad"):
        decoded(in_files, TREATED, 2, False)


def test_files_that_are_none(in_files: EncodedSet) -> None:
    assert isinstance(in_files.files, EncodedFiles)
    first, second = (Path(path) for path in in_files.files.items[:2])
    first.write_bytes(b"")
    with pytest.raises(RunFailedError, match="empty: 0 bytes"):
        list(FileBatches(in_files, TREATED, 16, CPU).ordered())
    second.unlink()
    only_second = in_files.subset(torch.tensor([1]))
    with pytest.raises(RunFailedError, match=r"1\.png: no such file"):
        list(FileBatches(only_second, TREATED, 16, CPU).ordered())


def test_threads_end_when_the_batches_are_dropped(in_files: EncodedSet) -> None:
    import threading

    batches = FileBatches(in_files, TREATED, 4, CPU, num_workers=3).ordered()
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("cnnkit-decode")]


def test_measured_statistics_of_memory_and_files_agree(
    in_memory: TensorSet, in_files: EncodedSet
) -> None:
    plain = Preprocessing(3, 8, 8, (0.0,) * 3, (1.0,) * 3)
    ours = measure_channels([in_memory], plain, 0, False)
    assert measure_channels([in_files], plain, 2, False) == ours
    parts = [in_files.subset(torch.arange(20, 65)), in_files.subset(torch.arange(20))]
    assert measure_channels(parts, plain, 2, False) == ours
    scaled = in_memory.images.double().numpy() / 255
    np.testing.assert_allclose(ours.mean, scaled.mean((0, 2, 3)))
    np.testing.assert_allclose(ours.std, scaled.std((0, 2, 3)))
    assert (ours.num_images, ours.num_total, ours.num_sampled) == (65, 65, None)
    assert ours.origin() == "measured on the training images"


def test_a_sample_is_the_same_however_the_files_are_held(in_files: EncodedSet) -> None:
    plain = Preprocessing(3, 8, 8, (0.0,) * 3, (1.0,) * 3)
    whole = measure_channels([in_files], plain, 2, False, most_files=20)
    assert (whole.num_images, whole.num_sampled, whole.num_total) == (20, 20, 65)
    assert whole.origin() == "measured on a sample of 20 of 65 images"
    assert whole.mean != measure_channels([in_files], plain, 2, False).mean
    once = decoded(in_files, TREATED, 2, False)
    assert measure_channels([once], plain, 0, False, most_files=20) == whole
    order = torch.cat([torch.arange(0, 65, 2), torch.arange(1, 65, 2)])
    parts = [in_files.subset(order[:33]), in_files.subset(order[33:])]
    assert measure_channels(parts, plain, 2, False, order=order, most_files=20) == whole


def test_a_constant_channel_is_divided_by_one() -> None:
    black = TensorSet(
        "x", "train", ("a",), torch.zeros(3, dtype=torch.int64), 1, (2, 2),
        torch.zeros(3, 1, 2, 2, dtype=torch.uint8),
    )  # fmt: skip
    plain = Preprocessing(1, 2, 2, (0.0,), (1.0,))
    measured = measure_channels([black], plain, 0, False)
    assert (measured.mean, measured.std, measured.num_images) == ((0.0,), (1.0,), 3)
