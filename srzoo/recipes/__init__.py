"""Training protocols: a YAML file for each, or for an entry that differs from its dataset's; `recipe` reads them."""
