"""The drivers: they deliver inputs to the machines and perform their effects with tasks, timers and the clock."""
