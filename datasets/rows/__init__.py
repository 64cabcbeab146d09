"""Records, their targets and their assignment to splits."""
