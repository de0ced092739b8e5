"""From audio to text: one utterance."""
