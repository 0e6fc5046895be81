"""Structure of networks: layers, counts, memory, receptive fields, convolution arithmetic."""
