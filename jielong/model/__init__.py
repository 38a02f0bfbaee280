"""The transformer: from token ids to hidden states, scores over the vocabulary, rewards, values."""
