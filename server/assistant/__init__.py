"""Where answers come from. `rules` is the offline default: no network, no key, the same answer every time."""
