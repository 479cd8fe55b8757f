"""Rates with intervals: from scored files to statements about checkpoints."""
