"""`emscore suites`: what a suite asks."""

import click


@click.command(short_help="List the questions of a suite, or show one of them.")
@click.argument("suite", metavar="[FILE]", default="default")
@click.argument("question_id", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def suites(suite: str, question_id: str | None, as_json: bool) -> None:
    """Lists the questions of a suite in the published YAML format; without FILE, of emscore's own.

    With the ID of a question, shows all of its wordings, prompts and settings. FILE may be
    `default` for emscore's own.
    """
    import dataclasses
    import json

    from ..errors import SuiteError
    from ..sampling.suites import load_suite
    from .table import indented, table

    loaded = load_suite(suite)
    chosen = [q for q in loaded.questions if question_id in (None, q.id)]
    if not chosen:
        raise SuiteError(f"{loaded.name} has no question with the id {question_id!r}")
    if as_json:
        questions = [{**dataclasses.asdict(q), "hash": q.hash} for q in chosen]
        told = {"name": loaded.name, "hash": loaded.hash, "questions": questions}
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    if question_id is None:
        rows = [
            [q.id, q.category or "-", str(len(q.paraphrases) * q.samples_per_paraphrase), text]
            for q in chosen
            for text in [" ".join(q.paraphrases[0].split())]
        ]
        click.echo(table(["id", "category", "samples", "question"], rows, right=[2], shrink=[0, 3]))
        samples = sum(int(row[2]) for row in rows)
        click.echo(
            f"\n{loaded.name}, version {loaded.hash}: {len(rows):,} questions, "
            f"{samples:,} samples a checkpoint and condition"
        )
        return
    question = chosen[0]
    shown: dict[str, str | None] = {
        "id": question.id,
        "hash": question.hash,
        "category": question.category,
        "type": question.type,
        **{f"wording {n}": text for n, text in enumerate(question.paraphrases)},
        "samples": f"{question.samples_per_paraphrase} of each wording",
        "temperature": f"{question.temperature:g}",
        "max_tokens": str(question.max_tokens),
        "system": question.system,
        **{
            f"context {n}": f"{message['role']}: {message['content']}"
            for n, message in enumerate(question.context or ())
        },
        "judge": question.judge,
        **{f"judge: {name}": text for name, text in question.judge_prompts.items()},
    }
    for name, value in shown.items():
        if value is not None:
            click.echo(indented(f"{name:18}", " ".join(value.split())))
