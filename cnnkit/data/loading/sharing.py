"""What each of several processes takes of every batch."""

from dataclasses import dataclass

MIN_SHARE = 2  # images: batch norm cannot train on one


@dataclass(frozen=True)
class Share:
    """One of several processes that take their parts of every batch.

    Attributes:
        rank: which one this is, from 0.
        size: how many there are.
    """

    rank: int
    size: int

    def of_images(self, number: int) -> tuple[int, int]:
        """Return where the part of a batch of so many images begins and ends.

        Pairs of images, which augmentation may mix, stay together. So parts differ by two images at
        most, the larger ones first; an odd image is the last process's. A batch too small for parts
        of two images is taken whole by everybody, and counts once; see `counts`.
        """
        if not self._is_divided(number):
            return 0, number
        least, more = divmod(number // 2, self.size)
        start = 2 * (self.rank * least + min(self.rank, more))
        is_last = self.rank == self.size - 1
        return start, number if is_last else start + 2 * (least + (self.rank < more))

    def counts(self, number: int) -> bool:
        """Return whether the part of a batch of so many images counts."""
        return self.rank == 0 or self._is_divided(number)

    def of_units(self, number: int) -> tuple[int, int]:
        """Return the first of so many units that is this process's, and the one after its last.

        Whole batches are such units where no gradient is wanted: what a network says of them is
        then, bit for bit, what it says to one process. So are files that are decoded once.
        """
        return number * self.rank // self.size, number * (self.rank + 1) // self.size

    def _is_divided(self, number: int) -> bool:
        return number >= MIN_SHARE * self.size
