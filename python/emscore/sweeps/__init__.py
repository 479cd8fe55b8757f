"""Many checkpoints, asked and scored as their answers arrive, into one data set."""
