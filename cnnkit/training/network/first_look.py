"""Letting a network look at training images before its first step."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from cnnkit.data.image_set import ImageSet
from cnnkit.data.loading.batches import epoch_order
from cnnkit.errors import UsageError
from cnnkit.evaluation import Setup
from cnnkit.system.determinism import is_refused
from cnnkit.system.memory import is_out_of_memory
from cnnkit.training.data import Place

NUM_IMAGES = 1000
ORDER = 0  # the pass whose order the images are taken in; training counts its own from 1


@runtime_checkable
class InitializesFromImages(Protocol):
    """A network that computes some of its first weights from training images."""

    def initialize_from(self, images: Tensor) -> None:
        """Set weights, in place.

        Args:
            images: normalised, of shape (N, C, H, W), on the device of the network.
        """


def initialize_from_images(
    network: nn.Module, train: ImageSet, place: Place, setup: Setup, seed: int
) -> None:
    """Call the `initialize_from` of a network that has one, with 1,000 images or all there are.

    They are drawn from the whole set, as a function of the seed alone: a folder has its classes one
    after another. What the method sets has to be a parameter or a buffer, or a run could not be
    resumed: it is called when a run begins, and never when one goes on.

    Args:
        network: on its device.
        train: the images that it will be trained on; here they are not augmented.
        place: makes batches of them.
        setup: says how an image becomes an input.
        seed: of the run.

    Raises:
        UsageError: the method failed.
        RunFailedError: an image is broken.
    """
    if not isinstance(network, InitializesFromImages):
        return
    some = train.subset(epoch_order(len(train), seed, ORDER)[:NUM_IMAGES])
    drawn = [images for images, _ in place.batches(some, setup, setup.eval_batch_size).ordered()]
    if not drawn:
        return  # every one is broken, and the first epoch will tell
    images = torch.cat(drawn)
    try:
        with torch.no_grad():
            network.initialize_from(images)
    except Exception as error:  # the network may be a user's own, and raise anything
        if is_out_of_memory(error) or is_refused(error):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"{setup.model} cannot be initialized from images of shape {tuple(images.shape)}: "
            f"{reason}",
            "its initialize_from is given normalised images, of shape (N, C, H, W)",
        ) from error
