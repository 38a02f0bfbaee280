"""From a trained model to text: sampling, beam search, conversations, rollouts."""
