"""The search for the options of a config: a study of many runs."""
