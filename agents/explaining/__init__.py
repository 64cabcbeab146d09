"""Why a trained run says what it says of a text: a score for each word, checks of the scores, similar training texts."""
