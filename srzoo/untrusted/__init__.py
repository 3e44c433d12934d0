"""Values in files that anyone may have written. Nothing in them is believed unchecked."""
