"""Every situation, in the order of the page."""

from contract.situations.arguments import ARGUMENTS
from contract.situations.images import DOWNLOADS, SANDBOX, SAVING, VIEWS
from contract.situations.inputs import INPUTS
from contract.situations.service import FAILURES, NETWORK, REFUSALS
from contract.situations.setup import DISK, LEDGER, LIMITS, SETTINGS
from contract.situations.tasks import CANCELS, LOST, TASKS, WAITS

SITUATIONS = (
    *ARGUMENTS,
    *INPUTS,
    *SETTINGS,
    *LIMITS,
    *DISK,
    *LEDGER,
    *REFUSALS,
    *NETWORK,
    *LOST,
    *WAITS,
    *FAILURES,
    *TASKS,
    *CANCELS,
    *SAVING,
    *DOWNLOADS,
    *VIEWS,
    *SANDBOX,
)
