"""The LLM judge: to audit a few hundred rows, or to label rows that a scorer is distilled from."""
