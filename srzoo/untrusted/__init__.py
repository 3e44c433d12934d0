"""Content that anyone may have written: values in files, and downloads. Nothing in it is believed unchecked."""
