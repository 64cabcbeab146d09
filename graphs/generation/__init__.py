"""Text from an encoder-decoder: greedy, sampled, and by beam search."""
