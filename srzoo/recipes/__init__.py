"""One YAML file per protocol, or per entry where it has one of its own; `srzoo.train.recipe` reads them."""
