"""AlexNet as it won in 2012, which is not the `alexnet` of torchvision.

Source: Krizhevsky, Sutskever, Hinton, ImageNet Classification with Deep Convolutional Neural
Networks (2012), section 3 and figure 2; torchvision's is the narrower one of 2014 (64-192-384-
256-256 channels, input 224, no response normalization).
"""

from collections import OrderedDict

from torch import nn

from cnnkit.models.zoo.initialization import initialize_kaiming


def alexnet_2012(
    num_classes: int = 1000, in_channels: int = 3, groups: int = 1, dropout: float = 0.5
) -> nn.Sequential:
    """Return AlexNet; (N, C, 227, 227) to (N, num_classes).

    The paper says 224, but its sizes only come out with 227. Starting weights are Kaiming's.

    Args:
        num_classes: number of logits.
        in_channels: channels of an image.
        groups: 2 splits convolutions two, four and five between two GPUs as in the paper, so that
            each half sees half the channels; 1 is how the network is drawn in lectures.
        dropout: probability that an input of each of the first two linear layers is dropped.
    """
    layers = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(in_channels, 96, kernel_size=11, stride=4),  # (N, 96, 55, 55)
        relu1=nn.ReLU(),
        norm1=_response_normalization(),
        pool1=nn.MaxPool2d(kernel_size=3, stride=2),  # (N, 96, 27, 27)
        conv2=nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=groups),  # (N, 256, 27, 27)
        relu2=nn.ReLU(),
        norm2=_response_normalization(),
        pool2=nn.MaxPool2d(kernel_size=3, stride=2),  # (N, 256, 13, 13)
        conv3=nn.Conv2d(256, 384, kernel_size=3, padding=1),  # (N, 384, 13, 13)
        relu3=nn.ReLU(),
        conv4=nn.Conv2d(384, 384, kernel_size=3, padding=1, groups=groups),  # (N, 384, 13, 13)
        relu4=nn.ReLU(),
        conv5=nn.Conv2d(384, 256, kernel_size=3, padding=1, groups=groups),  # (N, 256, 13, 13)
        relu5=nn.ReLU(),
        pool5=nn.MaxPool2d(kernel_size=3, stride=2),  # (N, 256, 6, 6)
        flatten=nn.Flatten(),
        dropout6=nn.Dropout(dropout),
        fc6=nn.Linear(9216, 4096),
        relu6=nn.ReLU(),
        dropout7=nn.Dropout(dropout),
        fc7=nn.Linear(4096, 4096),
        relu7=nn.ReLU(),
        fc8=nn.Linear(4096, num_classes),
    )
    network = nn.Sequential(layers)
    initialize_kaiming(network)
    return network


def _response_normalization() -> nn.LocalResponseNorm:
    """Section 3.3: k = 2, n = 5, alpha = 1e-4, beta = 0.75."""
    # PyTorch divides alpha by the number of channels it sums over, the paper does not.
    return nn.LocalResponseNorm(size=5, alpha=5 * 1e-4, beta=0.75, k=2.0)
