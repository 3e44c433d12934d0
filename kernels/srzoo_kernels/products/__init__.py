"""The two products the operators are made of: channels with channels over the pixels, and a matrix per pixel."""
