"""What a person does to go on with a run that has ended early, or to retry what failed. Pure.

What ends a run says what is amiss and what helps against it, and leaves open (see `End.advice`) what depends on
the kind of run: one over what is untagged goes on where it stopped, others begin anew.
"""

from sidecar.contract import RunStatus
from sidecar.gemini.verdicts import End
from sidecar.library.faults import DISK_FULL, Fault, LibraryError
from sidecar.library.run_writes import RunKind

_AGAIN = {
    RunKind.UNTAGGED: "start tagging again",
    RunKind.NAMED: "start tagging the same files again",
    RunKind.DRY: "start the dry run again",
    RunKind.APPLY: "apply the proposals again",
}
_GOES_ON = {
    RunKind.UNTAGGED: "goes on where it stopped",
    RunKind.NAMED: "begins at the first file",
    RunKind.DRY: "begins at the first file",
    RunKind.APPLY: "goes on where it stopped",
}


def again(kind: RunKind) -> str:
    """What to do, as the beginning of a sentence."""
    text = _AGAIN[kind]
    return text[0].upper() + text[1:]


def why_ended(end: End, kind: RunKind) -> str:
    """What ended a run of that kind, and what helps."""
    advice = end.advice.format(
        again=_AGAIN[kind],
        Again=again(kind),
        tagging="A dry run" if kind is RunKind.DRY else "Tagging",
        goes_on=_GOES_ON[kind],
    )
    return f"{end.message} {advice}".rstrip()


def ended_by(error: LibraryError) -> End:
    """Of a run whose tags cannot be saved any more."""
    if error.fault is Fault.FULL:
        return End(RunStatus.FAILED, DISK_FULL, "Free some space and {again}: it {goes_on}.")
    return End(RunStatus.FAILED, error.sentence)


REFUSED_ALL = End(
    RunStatus.FAILED,
    "The database refused the tags of every file lately: something in the library does not allow them, such as a "
    "trigger of another program.",
    "Mend that and {again}: it {goes_on}.",
)
