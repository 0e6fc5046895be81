"""From a set of images to the batches of a training: decoded, augmented, shared out."""
