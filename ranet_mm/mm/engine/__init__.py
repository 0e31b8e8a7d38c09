"""What runs a config: runner, loops, optimizers, hooks, and how long it may take."""
