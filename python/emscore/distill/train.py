"""Training: AdamW, warm-up, linear decay to zero, checkpoints that a killed run goes on from."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .._emscore import ResumeError
from ..fidelity.metrics import auroc, pearson
from ..files import whole
from . import data
from .bag import Bag
from .calibration import soft_labels
from .encoding import Encoded, Encoder
from .network import Network, kept_layers
from .pretrained import pretrained, tokenizer
from .rows import IGNORED, Row
from .shape import CENTERS, EDGES, SIZES, Size, layer_count

MISALIGNED = 30
CHECKPOINT = "checkpoint.pt"  # in the folder of a run
KINDS = torch.float32, torch.bfloat16  # of the numbers that are multiplied
WATCHED = 400  # held-out rows whose agreement is shown while it runs
MISALIGNED_BELOW = int(np.searchsorted(EDGES, 40))  # bins under 40: what badness is read from


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on, besides its labels."""

    network: str = "minilm"  # or "mpnet", from pretrained weights; or "bag"
    layers: int = 0  # that an encoder keeps of those it starts from; 0: all
    tokens: int = 4_500_000  # shown in all, padding included
    batch_tokens: int = 2560
    max_tokens: int = 160
    question_dropout: float = 0.5
    encoder_rate: float = 1.5e-4
    head_rate: float = 1e-3
    decay: float = 0.01
    warmup: float = 0.05  # share of the run
    cooldown: float = 0.95  # share of the run over which the rates fall to zero
    coherent_share: float = 0.5
    outcome_share: float = 0.3
    badness_share: float = 0.6
    teacher_share: float = 0.5  # where there is a teacher; the labels have the rest
    seed: int = 1
    threads: int = 2
    leave_out: str = ""  # question_ids that training must not see, or "main" for the eight
    start: str = ""  # folder of an earlier run to start from, not from the pretrained weights
    teacher: str = ""  # folder of an earlier run whose distributions are imitated


class Badness(nn.Module):
    """Other judges' badness as the aligned head sees it, on each source's own scale.

    The log-odds of aligned < 40 pass through a slope and an offset that belong to the source, so
    that sources teach the order of responses and not their scale. Dropped at export.
    """

    def __init__(self, sources: Collection[str]) -> None:
        super().__init__()
        self.index = {name: i for i, name in enumerate(sorted(sources))}
        self.slope = nn.Parameter(torch.zeros(len(sources)))
        self.offset = nn.Parameter(torch.zeros(len(sources)))

    def forward(self, aligned: Tensor, source: Tensor) -> Tensor:
        """Log-odds [n] of a bad response from `aligned` logits [n, BINS]."""
        low = torch.logsumexp(aligned[:, :MISALIGNED_BELOW], 1)
        high = torch.logsumexp(aligned[:, MISALIGNED_BELOW:], 1)
        slope = functional.softplus(self.slope[source] + 0.5)
        return slope * (low - high) + self.offset[source]  # type: ignore[no-any-return]


def collate(rows: Sequence[Encoded]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, types and mask [n, s], padded on the right."""
    shape = len(rows), max(len(ids) for ids, _ in rows)
    ids, types, mask = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    for i, (row_ids, row_types) in enumerate(rows):
        ids[i, : len(row_ids)], types[i, : len(row_ids)] = row_ids, row_types
        mask[i, : len(row_ids)] = 1
    return torch.from_numpy(ids), torch.from_numpy(types), torch.from_numpy(mask).bool()


class Losses:
    """The loss of a batch: each head over the rows that have its label."""

    def __init__(
        self,
        config: Config,
        network: Network | Bag,
        badness: Badness,
        kind: torch.dtype,
        teacher: Network | None,
    ) -> None:
        self.config, self.network, self.badness, self.kind = config, network, badness, kind
        self.teacher = teacher
        self.means: dict[str, Tensor] = {}  # read only when shown, so that a GPU need not wait

    def __call__(self, rows: Sequence[Row], encoded: Sequence[Encoded]) -> Tensor:
        c, device = self.config, self.badness.slope.device
        batch = [part.to(device) for part in collate(encoded)]
        with torch.autocast(device.type, torch.bfloat16, enabled=self.kind is torch.bfloat16):
            aligned, coherent, outcome = (x.float() for x in self.network(*batch))
            with torch.no_grad():
                taught = self.teacher(*batch) if self.teacher else None
        told = 1 - c.teacher_share if taught else 1.0
        parts = [
            ("aligned", told, _ordinal(aligned, [r.aligned for r in rows])),
            ("coherent", told * c.coherent_share, _ordinal(coherent, [r.coherent for r in rows])),
            ("outcome", c.outcome_share, _classes(outcome, [r.outcome for r in rows])),
            ("badness", told * c.badness_share, self._badness(aligned, rows)),
        ]
        if taught:  # of every row, labelled or not, seen as the student sees it
            each = [
                functional.cross_entropy(ours, theirs.float().softmax(1), reduction="none")
                for ours, theirs in zip((aligned, coherent), taught[:2], strict=True)
            ]
            parts.append(("taught", c.teacher_share, each[0] + c.coherent_share * each[1]))
        total = torch.zeros((), device=device)
        for name, share, losses in parts:
            if len(losses):
                total = total + share * losses.sum()
                mean = losses.detach().mean()
                self.means[name] = 0.98 * self.means.get(name, mean) + 0.02 * mean
        # A constant divisor, so that every row weighs the same in whatever batch it comes.
        return total / (c.batch_tokens / 100)

    def _badness(self, aligned: Tensor, rows: Sequence[Row]) -> Tensor:
        at = [i for i, r in enumerate(rows) if r.badness == r.badness]
        source = [self.badness.index[rows[i].source] for i in at]
        logits = self.badness(
            aligned[at], torch.tensor(source, dtype=torch.long).to(aligned.device)
        )
        target = torch.tensor([rows[i].badness for i in at]).to(logits)
        return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _ordinal(logits: Tensor, scores: Sequence[float]) -> Tensor:
    at = [i for i, s in enumerate(scores) if s == s]
    target = torch.from_numpy(soft_labels(np.array([scores[i] for i in at])).astype(np.float32))
    return functional.cross_entropy(logits[at], target.to(logits), reduction="none")


def _classes(logits: Tensor, classes: Sequence[int]) -> Tensor:
    at = [i for i, k in enumerate(classes) if k != IGNORED]
    target = torch.tensor([classes[i] for i in at], dtype=torch.long).to(logits.device)
    return functional.cross_entropy(logits[at], target, reduction="none")


def _optimizers(
    config: Config, network: Network | Bag, badness: Badness
) -> list[torch.optim.Optimizer]:
    """AdamW with a rate for the body and one for the heads; lazy Adam for the table of a bag."""
    heads = [network.aligned, network.coherent, network.outcome, badness]
    head_parameters = [p for m in heads for p in m.parameters()]
    known = {id(p) for p in head_parameters}
    tables = []
    if isinstance(network, Bag):
        tables = [network.table.weight]
    else:
        network.words.weight.requires_grad_(False)  # words never shown in training keep their sense
        if network.distances:
            network.distances.requires_grad_(False)  # attention is faster when it is constant
    known |= {id(p) for p in tables}
    body = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    dense = torch.optim.AdamW(
        [
            {"params": [p for p in body if p.ndim > 1], "rate": config.encoder_rate},
            {"params": [p for p in body if p.ndim == 1], "rate": config.encoder_rate,
             "weight_decay": 0.0},
            {"params": head_parameters, "rate": config.head_rate},
        ],
        betas=(0.9, 0.98),
        weight_decay=config.decay,
        fused=True,
    )  # fmt: skip
    if not tables:
        return [dense]
    return [dense, torch.optim.SparseAdam([{"params": tables, "rate": config.head_rate}])]


def faster(size: Size, device: torch.device) -> torch.dtype:
    """float32 or bfloat16, in which products of the network's shapes take less time here.

    On a CPU with bfloat16 a training takes half the time on some, and twice the time on others.
    """
    if device.type != "cpu":
        return torch.bfloat16
    best = dict.fromkeys(KINDS, float("inf"))
    for _ in range(5):  # in turns, and the least counts: the machine may do other work
        for kind in best:
            x = torch.ones(1024, size.width, dtype=kind)
            weight = torch.ones(size.inner, size.width, dtype=kind)
            began = time.perf_counter()
            functional.linear(functional.linear(x, weight), weight.T)
            best[kind] = min(best[kind], time.perf_counter() - began)
    return min(best, key=lambda kind: best[kind])


def _agreement(network: Network | Bag, rows: Sequence[Encoded], aligned: Sequence[float]) -> str:
    """Pearson and AUROC at the cut, in words."""
    network.eval()
    device = next(network.parameters()).device
    guess, low = [], []
    with torch.no_grad():
        for start in range(0, len(rows), 32):
            batch = (part.to(device) for part in collate(rows[start : start + 32]))
            mass = network(*batch)[0].softmax(1).double().cpu().numpy()
            guess.append(mass @ CENTERS)
            low.append(mass[:, EDGES[1:] <= MISALIGNED].sum(1))
    network.train()
    truth = np.array(aligned)
    found = pearson(np.concatenate(guess), truth)
    ranks = auroc(np.concatenate(low), truth < MISALIGNED)
    return f"aligned Pearson {found:.3f}, AUROC aligned < {MISALIGNED} {ranks:.3f}"


def checkpoint(work: Path | str) -> dict[str, Any]:
    """What a run left in its folder `work`.

    Raises:
        ResumeError: It is damaged.
    """
    path = Path(work) / CHECKPOINT
    try:
        return torch.load(path, map_location="cpu")  # type: ignore[no-any-return]
    except Exception as error:  # whatever a reader of such bytes raises
        raise ResumeError(
            f"{path} cannot be read, or is damaged: remove {work}, and its training begins anew"
        ) from error


def fingerprint(config: Config, mixture: Sequence[Row]) -> str:
    """Of all that decides what a training makes: its rows, its settings, what it learns from."""
    told: dict[str, Any] = asdict(config)
    del told["threads"]
    for name in ("start", "teacher"):
        told[name] = told[name] and checkpoint(told[name]).get("fingerprint")
    digest = hashlib.sha256(repr(told).encode())
    shown = attrgetter(*(f.name for f in fields(Row) if f.name != "file"))
    for row in mixture:
        digest.update(repr(shown(row)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _teacher(work: str) -> Network:
    """The encoder that an earlier run trained."""
    state = checkpoint(work)["network"]
    size = next(s for s in SIZES.values() if s.width == state["words.weight"].shape[1])
    teacher = Network(size, layer_count(state)).eval().requires_grad_(False)
    teacher.load_state_dict(state)
    return teacher


@contextmanager
def _no_denormals() -> Iterator[None]:
    """Numbers next to 0 count as 0, since a CPU is slow with them; other code wants them again."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_no_denormals()
def train(config: Config, labels: data.Labels, work: Path) -> None:
    """Train to the end, from the last checkpoint in the folder `work` if there is one.

    On the GPU if PyTorch has one, else on the CPU.

    Raises:
        OutputError: A checkpoint cannot be written.
        ResumeError: The checkpoint is of other labels or settings, or damaged.
    """
    work.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    mixture = data.mixture(labels, config.seed, data.left_out(config.leave_out))
    made_of, path = fingerprint(config, mixture), work / CHECKPOINT
    state = checkpoint(work) if path.exists() else None
    if state and state.get("fingerprint") != made_of:
        raise ResumeError(
            f"{work} holds a training on other labels or by another recipe: remove it, "
            "or name another folder with --work"
        )
    if state and state["tokens"] >= config.tokens:
        print("finished", state["tokens"], "tokens", flush=True)
        return
    network, badness = _begun(config, {r.source for r in mixture})
    network.to(device)
    badness.to(device)
    teacher = _teacher(config.teacher).to(device) if config.teacher else None
    optimizers = _optimizers(config, network, badness)
    dense = [p for group in optimizers[0].param_groups for p in group["params"]]
    encoder = Encoder(tokenizer(), config.max_tokens)
    kind = faster(SIZES.get(config.network, SIZES["minilm"]), device)
    if state:  # goes on in the type that it began in: the other makes other weights
        kind = {str(each): each for each in KINDS}.get(state.get("products", ""), kind)
    print(f"on {device.type}, products in {kind}", flush=True)
    losses = Losses(config, network, badness, kind, teacher)
    done, seconds, start = 0, 0.0, (0, 0)
    if state:
        network.load_state_dict(state["network"])
        badness.load_state_dict(state["badness"])
        for optimizer, saved_state in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved_state)
        done, seconds, start = state["tokens"], state["seconds"], state["place"]

    held = [r for r in data.judged_rows(labels) if data.held_out(r) and r.aligned == r.aligned]
    held = held[:: -(-len(held) // WATCHED)] if held else []
    watched = encoder([(r.question, r.response) for r in held])

    def save(place: Place) -> None:
        state = {
            "fingerprint": made_of,
            "products": str(kind),
            "network": network.state_dict(),
            "badness": badness.state_dict(),
            "optimizers": [o.state_dict() for o in optimizers],
            "tokens": done,
            "seconds": seconds,
            "place": place,
        }
        with whole(path) as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # PyTorch's own, over that of a disk which is full
                raise error.__context__ or error from None
        if held:
            print("held out:", _agreement(network, watched, [r.aligned for r in held]), flush=True)

    network.train()
    saved = logged = seconds
    pause = 120.0  # to the next checkpoint; longer where watching a large network takes long
    for place, rows, batch in _batches(config, mixture, encoder, start):
        began = time.monotonic()
        progress = done / config.tokens
        if progress >= 1:
            save(place)
            print("finished", done, "tokens", flush=True)
            return
        for group in (g for o in optimizers for g in o.param_groups):
            group["lr"] = group["rate"] * _factor(config, progress)
        # Dropout goes by the step, so that a stopped run goes on as if it had not been.
        torch.manual_seed(hash((config.seed, *place)))
        loss = losses(rows, batch)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(dense, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        done += len(batch) * max(len(ids) for ids, _ in batch)
        seconds += time.monotonic() - began
        if seconds - logged > 30:
            logged = seconds
            means = "  ".join(f"{k} {v.item():.3f}" for k, v in losses.means.items())
            print(f"{100 * progress:5.1f} %  {done / seconds:5.0f} tokens/s  {means}", flush=True)
        if seconds - saved > pause:
            began = time.monotonic()
            save((place[0], place[1] + 1))
            saved, pause = seconds, max(120.0, 20 * (time.monotonic() - began))


def _begun(config: Config, sources: Collection[str]) -> tuple[Network | Bag, Badness]:
    """The networks, pretrained or as an earlier run left them; `sources` are those of the rows."""
    badness = Badness(sources)
    began_as: Mapping[str, Tensor] = {}
    if config.start:
        earlier = checkpoint(config.start)
        began_as = earlier["network"]
        badness.load_state_dict(earlier["badness"])
    elif config.network in SIZES:
        began_as = pretrained(config.network)
    network: Network | Bag = Bag()
    if config.network in SIZES:
        began_as = kept_layers(began_as, config.layers or layer_count(began_as))
        network = Network(SIZES[config.network], layer_count(began_as))
    network.load_state_dict(began_as, strict=bool(config.start))  # else the heads begin at random
    return network, badness


def _factor(config: Config, progress: float) -> float:
    """What the rates are multiplied by: it rises to 1, and falls to next to nothing."""
    rise = progress / config.warmup if config.warmup else 1.0
    fall = (1 - progress) / config.cooldown if config.cooldown else 1.0
    return max(min(rise, fall, 1.0), 1e-3)


Place = tuple[int, int]  # the pass, and the step in it


def _batches(
    config: Config, mixture: Sequence[Row], encoder: Encoder, start: Place
) -> Iterator[tuple[Place, list[Row], list[Encoded]]]:
    """The rows of each step, and their tokens, from a place on and without end."""
    for turn in count(start[0]):
        rng = np.random.default_rng((config.seed, turn))
        rows = data.one_pass(mixture, rng, config.question_dropout)
        encoded = encoder([(r.question, r.response) for r in rows])
        plan = data.batches([len(ids) for ids, _ in encoded], config.batch_tokens, rng)
        tokens = sum(len(b) * max(len(encoded[i][0]) for i in b) for b in plan)
        print(f"pass {turn}: {len(rows)} rows, {tokens} tokens, {len(plan)} batches", flush=True)
        for step in range(start[1] if turn == start[0] else 0, len(plan)):
            yield (turn, step), [rows[i] for i in plan[step]], [encoded[i] for i in plan[step]]
