"""The tasks of models, a folder for each. Code outside this package asks the task instead of knowing it."""
