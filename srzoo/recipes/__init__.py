"""Training recipes: YAML files for whole datasets and for single models, and the module `recipe`, which reads them."""
