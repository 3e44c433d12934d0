"""Compiling the kernels for devices that are not here, and reading back what the compiler made of them."""
