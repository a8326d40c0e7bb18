"""The rows of the table, in its order."""

from tests.trust import (
    cancels,
    disk,
    hostile,
    http,
    kills,
    neighbour,
    properties,
    shells,
    soak,
    takeovers,
    waits,
    writes,
)
from tests.trust.row import Row

ROWS: dict[str, Row] = {
    row.key: row
    for row in (
        kills.ROW,
        writes.ROW,
        disk.ROW,
        http.ROW,
        waits.DELAYS,
        waits.OUTAGES,
        hostile.ROW,
        properties.ROW,
        cancels.ROW,
        shells.ROW,
        neighbour.ROW,
        takeovers.ROW,
        soak.ROW,
    )
}
