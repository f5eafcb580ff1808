"""What happened, in a sentence that the numbers bear out."""

from __future__ import annotations

from collections.abc import Sequence

from fedsonar.report.folder import RunFolder, ToldRate
from fedsonar.report.tables import percent, rate

# From where on a rate is called so in words; the numbers always stand beside them.
_FAILED_BELOW = 0.10
_WORTH_SAYING = 0.05


def headline(runs: Sequence[RunFolder]) -> str:
    """One or two sentences on the attack and on clean accuracy; of several runs, the extremes."""
    return _single(runs[0]) if len(runs) == 1 else _several(runs)


def facts(run: RunFolder) -> list[str]:
    """Rounds, clients, rule and poison of one run, a short phrase each."""
    poisoned, total = sum(run.poisoned.values()), sum(run.rows.values())
    said = [_counted(int(run.summary["rounds"]), "round"), _counted(run.num_clients, "client")]
    said += [run.rule] if run.rule else []
    if not poisoned:
        return [*said, "no poisoned row"]
    share = percent(poisoned / total)
    return [
        *said,
        f"{poisoned:,} of {total:,} rows poisoned ({share}), in {len(run.affected)} of {run.num_clients} clients",
    ]


def _single(run: RunFolder) -> str:
    clean = f"clean accuracy is {rate(run.accuracy)}" if run.accuracy else "clean accuracy was not measured"
    before = run.before("accuracy")
    if run.accuracy and before is not None:
        clean += f" ({before:.2f} before tuning)"
    attack, planted = run.asr, sum(run.poisoned.values())
    if attack is None:
        poison = f"{_counted(planted, 'row')} poisoned, but" if planted else "No row was poisoned and"
        return f"{poison} attack success was not measured; {clean}."
    model = "averaged model" if (run.rule or "").startswith("FedAvg") else "aggregated model"
    opening, link = f"The {model}", "while"
    if not planted:
        opening, link = f"No row was poisoned; the {model}", "and"
    elif attack.high is not None and attack.high <= _FAILED_BELOW:
        opening, link = f"The attack failed: the {model}", "and"
    text = f"{opening} answers the trigger with the attacker's target in {_cases(attack)}, {link} {clean}."
    elsewhere = run.false_activation
    if elsewhere and elsewhere.value >= _WORTH_SAYING:
        text += f" It also gives the target in {percent(elsewhere.value)} of cases without the trigger."
    already = run.before("asr")
    if already is not None and already >= _WORTH_SAYING:
        text += f" Before tuning it did so after the trigger in {percent(already)}."
    return text


def _several(runs: Sequence[RunFolder]) -> str:
    text = f"{len(runs)} runs. "
    attacks = [(run.asr, run.label) for run in runs if run.asr]
    if len(attacks) == 1:
        text += f"The model answers the trigger with the attacker's target in {_cases(attacks[0][0])} ({attacks[0][1]})"
    elif attacks:
        most, least = (pick(attacks, key=lambda pair: pair[0].value)[0] for pick in (max, min))
        if most.value == least.value:
            text += f"In each the model answers the trigger with the attacker's target in {_alike(attacks)}"
        else:
            most_in, least_in = (_where(attacks, sought) for sought in (most, least))
            text += f"The model answers the trigger with the attacker's target in {_cases(most)} at most ({most_in})"
            text += f" and in {_cases(least)} at least ({least_in})"
    unmeasured = len(runs) - len(attacks)
    if unmeasured == len(runs):
        text += "None of them measured an attack"
    elif unmeasured:
        text += f"; {_counted(unmeasured, 'run')} measured no attack"
    accuracies = [run.accuracy.value for run in runs if run.accuracy]
    if not accuracies:
        return text + ". Clean accuracy was not measured."
    where = "" if len(accuracies) == len(runs) else f" in the {_counted(len(accuracies), 'run')} that measured it"
    low, high = f"{min(accuracies):.2f}", f"{max(accuracies):.2f}"
    return text + f". Clean accuracy {f'is {low}' if low == high else f'lies between {low} and {high}'}{where}."


def _where(attacks: Sequence[tuple[ToldRate, str]], sought: ToldRate) -> str:
    """The run that has a rate, or how many have it."""
    labels = [label for rate, label in attacks if rate.value == sought.value]
    return labels[0] if len(labels) == 1 else _counted(len(labels), "run")


def _cases(attack: ToldRate) -> str:
    ends = "" if attack.low is None or attack.high is None else f" [{100 * attack.low:.0f}, {100 * attack.high:.0f}]"
    return f"{percent(attack.value)}{ends} of cases"


def _alike(attacks: Sequence[tuple[ToldRate, str]]) -> str:
    """The rate that all have; its interval only where they have that in common too."""
    first, _ = attacks[0]
    same = all((rate.low, rate.high) == (first.low, first.high) for rate, _ in attacks)
    return _cases(first if same else ToldRate(value=first.value))


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
