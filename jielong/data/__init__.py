"""Sources, cleaning, splits, word resources, task families and conversations."""
