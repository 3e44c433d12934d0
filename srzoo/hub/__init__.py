"""Publishing a model in a repository of a model hub: its file, a model card, and pictures."""
