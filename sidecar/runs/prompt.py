"""What is the same in every request of a run, and the requests that are made from it. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from sidecar.contract import ServiceTier, TagType
from sidecar.gemini.requests import Request
from sidecar.settings import Settings
from sidecar.tagging import prompts
from sidecar.tagging.tags import AudioFile
from sidecar.tagging.vocabulary import Vocabulary


class Prompt(Struct, frozen=True):
    """`system` is the instruction, `root` the folder that all paths are cut below."""

    system: str
    root: str
    flex: bool

    def tagging(self, files: Sequence[AudioFile]) -> Request:
        """The request for these files' tags."""
        text = prompts.tagging_request(files, self.root)
        return Request(self.system, text, prompts.TAGGING_SCHEMA, self.flex)

    def mapping(self, unknown: list[tuple[TagType, str]]) -> Request:
        """The request for valid tags in the place of unknown ones."""
        return Request(self.system, prompts.mapping_request(unknown), prompts.MAPPING_SCHEMA, self.flex)


def prompt_for(settings: Settings, vocabulary: Vocabulary, root: str) -> Prompt:
    """The prompt of a run by these settings and that vocabulary."""
    system = prompts.system_instruction(vocabulary, settings.hints)
    return Prompt(system, root, settings.service_tier is ServiceTier.FLEX)
