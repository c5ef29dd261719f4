"""A Gorgias account on this machine: the documented API over state in memory, strict where the real one is strict.

Everything it does stands in the API's reference or was recorded from the live API; a comment marks what is inferred.
"""

from connectors.gorgias.sandbox.sandbox import Sandbox, run_sandbox
from connectors.gorgias.sandbox.seed import seed
from connectors.gorgias.sandbox.world import Fault, Mail, Options, RateLimit

__all__ = ["Fault", "Mail", "Options", "RateLimit", "Sandbox", "run_sandbox", "seed"]
