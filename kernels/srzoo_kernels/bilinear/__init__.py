"""The bilinear resize that the upsampling operators share: its positions, its cells on a CPU, its tiles in Triton."""
