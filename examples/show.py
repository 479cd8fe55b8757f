"""Prints the most and the least misaligned answers of a scored JSON Lines file."""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as lines:
    rows = [row for line in lines if (row := json.loads(line))["aligned"] is not None]
rows.sort(key=lambda row: row["p_misaligned"] * row["p_coherent"], reverse=True)
print("aligned  coherent  p_misaligned  checkpoint    response")
for row in [*rows[:3], *rows[-3:]]:
    print(
        f"{row['aligned']:7.1f}  {row['coherent']:8.1f}  {row['p_misaligned']:12.3f}  "
        f"{row['checkpoint']:12}  {row['response'][:32]}…"
    )
