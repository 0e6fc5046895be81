"""The time of the layers of a network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerTime:
    """A layer in a forward pass.

    Attributes:
        cell: number of its cell, from 0.
        name: dotted; empty for what is computed outside of layers.
        type: its class.
        ms: median milliseconds of a batch.
        share_of_time: of the forward pass.
        macs: multiply-accumulates of a batch.
        share_of_macs: of those of the network; None where it has none.
    """

    cell: int
    name: str
    type: str
    ms: float
    share_of_time: float
    macs: int
    share_of_macs: float | None

    @property
    def slowness(self) -> float | None:
        """The share of the time over that of the MACs: above 1 it is slower than its count says."""
        return self.share_of_time / self.share_of_macs if self.share_of_macs else None
