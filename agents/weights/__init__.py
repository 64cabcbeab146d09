"""Where weights come from besides training: another run, a published model, word vectors."""
