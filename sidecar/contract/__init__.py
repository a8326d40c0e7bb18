"""The wire: every method's params and result, the notifications, the reasons and the error codes.

The one source of what a shell may send and will see, and of what each field means. The structs decode and
validate every call (strictly: unknown fields are refused by name) and encode every answer; nothing here does I/O.
"""

from sidecar.contract.addresses import *
from sidecar.contract.errors import *
from sidecar.contract.notifications import *
from sidecar.contract.params import *
from sidecar.contract.reports import *
from sidecar.contract.results import *
from sidecar.contract.values import *
from sidecar.contract.words import *
