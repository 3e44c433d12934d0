"""What Squeeze Reasoning does with an image, as numbers and as pictures."""
