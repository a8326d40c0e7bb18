"""Pure rules of tagging: no I/O, no clock, no randomness. Everything here is tested without any."""
