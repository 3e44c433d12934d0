"""What a model is for. A folder for each task; everything outside asks the task."""
