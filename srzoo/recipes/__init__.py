"""One YAML file per trained entry."""
