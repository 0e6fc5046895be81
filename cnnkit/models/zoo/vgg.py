"""VGG-16 for the small images of CIFAR; the ones for ImageNet are torchvision's.

Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition
(2014), table 1, column D.
"""

from torch import nn

from cnnkit.models.zoo.initialization import initialize_kaiming

# The channels of each convolution, one row per stage; a pooling that halves ends each stage.
_VGG16_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16_cifar(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.65) -> nn.Module:
    """Return VGG-16 with a head of 512-4096-4096; (N, C, 32, 32) to (N, num_classes).

    Starting weights are Kaiming's.

    Args:
        num_classes: number of logits.
        in_channels: channels of an image.
        dropout: probability that an output of the two hidden linear layers is dropped.
    """
    layers: list[nn.Module] = []
    for stage in _VGG16_STAGES:
        for out_channels in stage:
            layers += [nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1), nn.ReLU()]
            in_channels = out_channels
        layers.append(nn.MaxPool2d(2))
    network = nn.Sequential(
        *layers,  # (N, 512, 1, 1)
        nn.Flatten(),
        nn.Linear(512, 4096),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(4096, num_classes),
    )
    initialize_kaiming(network)
    return network
