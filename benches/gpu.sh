#!/usr/bin/env bash
# What can only be checked where an NVIDIA GPU is. Needs emscore and onnxruntime-gpu installed:
#   pip uninstall -y onnxruntime; pip install "onnxruntime-gpu[cuda,cudnn]"
# Usage: benches/gpu.sh [INPUT [MANY]]
# INPUT is any file that emscore reads (default: the sample), MANY a large one for the rates.
# Ends with an error at the first check that fails; rates are printed, not judged.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
input="${1:-examples/responses.jsonl}"
many="${2:-$input}"
room="$(mktemp -d)"
trap 'rm -rf "$room"' EXIT

score() { emscore score "$input" --quiet --overwrite "$@"; }

echo "## Doctor: devices, and its own comparison of CPU and GPU"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
emscore doctor

echo "## A GPU that is asked for and cannot be used is an error"
for refused in "env CUDA_VISIBLE_DEVICES= emscore score --device cuda" "emscore score --device cuda:99"; do
  if $refused "$input" -o "$room/refused.arrow" --quiet --overwrite; then
    echo "$refused should have failed" >&2
    exit 1
  fi
  [ ! -e "$room/refused.arrow" ]
done

echo "## auto takes the GPU, and says so"
score -o "$room/auto.arrow" --device auto --json | grep -o '"device[^,]*'
score -o "$room/auto.arrow" --device auto --json | grep -q '"device": *"cuda:0"'

echo "## Agreement: the same fp16 network on the CPU, batches of other sizes"
score -o "$room/int8.arrow" --device cpu
score -o "$room/fp16.arrow" --device cpu --precision fp16
for tokens in 512 16384 262144; do
  score -o "$room/gpu.$tokens.arrow" --device cuda --batch-tokens "$tokens"
done
python benches/agree.py --points 0.5 "$room"/{fp16,gpu.512,gpu.16384,gpu.262144}.arrow
echo "What int8 does, on any device (no check: it is the form, not the GPU)"
python benches/agree.py --points 100 "$room"/{fp16,int8}.arrow

echo "## Killed and resumed (batches then have other neighbours)"
score -o "$room/whole.arrow" --device cuda
cut() { "$@" emscore score "$input" -o "$room/cut.arrow" --device cuda --quiet --overwrite --resume; }
cut timeout --signal=KILL 4 || true
[ -e "$room/cut.arrow" ] || cut
python benches/agree.py --points 0.5 "$room"/{whole,cut}.arrow

echo "## Rows a second by batch size, and without the first 1,000 rows and the start of CUDA"
speed() { emscore score "$many" -o "$room/speed.arrow" --quiet --overwrite --device cuda --json "$@"; }
for tokens in 8192 32768 65536 131072 262144; do
  echo -n "--batch-tokens $tokens: "
  { speed --batch-tokens "$tokens" --limit 1000; speed --batch-tokens "$tokens"; } |
    python -c 'import json, sys
few, all = map(json.loads, sys.stdin)
seconds = all["seconds"]
told = [f"{all[what] / seconds:,.0f} {what}/s" for what in ("rows", "tokens")]
if all["rows"] > few["rows"]:
    rate = (all["rows"] - few["rows"]) / (seconds - few["seconds"])
    told.append(f"{rate:,.0f} rows/s without the start")
print(*told, sep=", ")'
done
