"""What a network looks like: layers, counts, memory, receptive fields, convolution arithmetic."""
