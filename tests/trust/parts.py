"""A library whose sounds become untagged part by part.

So one process can serve many cases, each with files of its own, and the next run of any process takes
exactly what is left, without being told the ids.
"""

from pathlib import Path

from tests import harness
from tests.harness import Client, Library, Message


class Parts:
    """A library of `count` parts of `size` sounds each, all of them hidden from runs at first."""

    def __init__(self, folder: Path, count: int, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.library: Library = harness.library(folder, count * size)
        self.library.execute("UPDATE audio_files SET auto_tagged = 1")
        self.size = size
        self._shown = 0

    def show(self) -> range:
        """The next part's ids, untagged from now on."""
        first = self._shown * self.size + 1
        self._shown += 1
        ids = range(first, first + self.size)
        self.library.execute("UPDATE audio_files SET auto_tagged = 0 WHERE id BETWEEN ? AND ?", ids[0], ids[-1])
        return ids

    @property
    def left(self) -> int:
        """How many sounds the next run has to take."""
        return int(self.library.scalar("SELECT count(*) FROM audio_files WHERE auto_tagged = 0"))

    async def finish(self, subject: Client, **params: object) -> Message | None:
        """A run over just what is left, which it has to tag; None when that is nothing."""
        left = self.left
        started = await subject.result("auto_tag_files", **params)
        assert started["total_files"] == left, (started, left)
        if not left:
            return None
        done = await subject.complete(started["run_id"])
        assert (done["status"], done["processed_files"], self.left) == ("completed", left, 0), done
        return done

    def check_once(self) -> None:
        """No file was tagged twice."""
        twice = self.library.query(
            "SELECT file_id FROM auto_tag_history WHERE tags_applied LIKE '%\"run_id\"%' "
            "GROUP BY file_id HAVING count(*) > 1"
        )
        assert not twice, f"tagged twice: {twice[:5]}"
