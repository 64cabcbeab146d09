"""Explanations of a trained run's predictions: a score for each word, checks of the scores, similar training texts."""
