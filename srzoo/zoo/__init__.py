"""The models by name: list, build, save and load them."""
