"""How well a scorer stands in for its judge: metrics, intervals, the fidelity card, drift."""
