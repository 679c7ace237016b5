"""How long an agent waits: for its engine, for the store, and until it looks again."""

from dataclasses import dataclass

from ..engines.http import CHECK_SECONDS


@dataclass(frozen=True)
class Patience:
    """In seconds. `reprove` is a setting; the others are what they are for a reason, and only tests have less."""

    reprove: float = 300.0
    """Until what is served is proved again."""
    retry: float = 30.0
    """After a verdict that somebody may mend: in the store, or by restarting the engine."""
    own_retry: float = 5.0
    """After a failed step for the engine as a whole. The adapters' own steps go on."""
    leave: float = 10.0
    """An adapter that left the set is served so long: a router may hear of it later than this agent."""
    unload: float = 10.0
    """The engine confirms an unload when the adapter's last request has finished; others do not wait for that."""
    proof: float = 180.0
    """For one proof, all of its requests together."""
    stall: float = 30.0
    """Without a piece read from the store, a copy is given up. Its thread may hang on in the kernel."""
    metrics: float = 2.0
    """For the engine's whole page. The agent's own metrics wait so long for a silent engine; a scraper waits 10 s for
    both."""

    # An engine that answers, or should

    check: float = CHECK_SECONDS
    """For the engine's word that it is healthy, and for its list of adapters."""
    silent: float = 30.0
    """An engine that is only slow counts as down after so long without any progress. It may be busy: a request, however
    large, must not take all adapters away. One that has ended refuses connections, which is down at once. After so long
    in which nothing has come of its model it is asked for a token, however healthy it says that it is (pulse.py)."""
    hung: float = 120.0
    """An engine that has answered, takes connections, and for so long does not answer, gets on with no request and
    counts no step of its model, hangs. Its process is killed: it would hold its GPU for ever. Wardrobe's own sees for
    itself that its model hangs, and ends sooner; of the others, and of a process that is stopped as a whole, nobody
    else notices. It is four times `silent`, since a base is read anew for it, and a node without cores or memory to
    spare makes an engine slow as well."""

    apart: float = 60.0
    """An adapter at whose load or first proof the engine has ended twice in a row is left out for so long, and for
    twice as long after each further time, up to an hour: the others are served meanwhile."""

    # An engine that takes adapters only when it starts

    gather: float = 5.0
    """A set is restarted for when it has stayed the same so long: versions that come together cost one restart."""
    start: float = 900.0
    """What an engine may take to answer; one that hangs is given up then. A base of 140 GB takes 700 at 200 MB/s."""
    steady: float = 5.0
    """All of a set counts as proved once the engine has answered so long since: one whose shard died at a probe answers
    it with an error, which is a verdict, before it ends."""
    forget: float = 600.0
    """Where no set has come up ever, it may have been the node: all are tried again after so long."""
