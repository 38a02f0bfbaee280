"""One loop for every stage, and what it needs: optimizers, schedules, checkpoints, processes."""
