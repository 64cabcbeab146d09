"""Records, their targets, and which split each goes into."""
