"""From a scorer and judged rows to a new scorer: another judge's scale, new questions."""
