"""What agents and routers say of themselves at `GET /state`; the operator and the routers read it from pod IPs."""

from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from .base import Digest, Exchanged, Record
from .words import Word

STATE_PATH = "/state"
GENERATION_QUERY = "generation"
"""With STATE_PATH: the routes' generation that the asker knows. Who is behind lists the routes again at once."""
READY_PATH = "/readyz"
HEALTH_PATH = "/healthz"
METRICS_PATH = "/metrics"
ADAPTER_HEADER = "X-Wardrobe-Version"
DIGEST_HEADER = "X-Wardrobe-Digest"
DEPARTMENT_HEADER = "X-Wardrobe-Department"
"""In a router's request: who asks. In its answer: who answered."""
WAIT_HEADER = "X-Wardrobe-Wait"
"""In a router's request: "no" where another full replica has turned it away already."""
ENGINE_REACHED_HEADER = "X-Wardrobe-Engine-Reached"
"""In an agent's refusal: "no" where nothing of the request was sent to the engine, else "yes"."""


class Verdict(Word):
    """What this replica knows of an adapter."""

    PENDING = ("Pending", "No verdict yet; the reason says what is being done.", "wait.")
    APPLIED = ("Applied", "Given to the engine with this digest, and its effect is present, in prefill and in decode.")
    NOT_APPLIED = (
        "NotApplied",
        "Loaded, but the engine answers as the base (or does so in decode).",
        "delete the engine pod, so that it starts anew; if the verdict comes back, report the engine's defect.",
    )
    WRONG_ADAPTER = (
        "WrongVersion",
        "Loaded, but the engine answers as another adapter.",
        "delete the engine pod, so that it starts anew; if the verdict comes back, report the engine's defect.",
    )
    DIVERGED = (
        "Diverged",
        "Loaded, but the scores are those of nothing known.",
        "see the reason. On all adapters of a replica it is the engine or the base that differs: delete the pod. "
        "On one adapter everywhere it is the adapter: point the department at another and train again.",
    )
    INDISTINGUISHABLE = (
        "Indistinguishable",
        "Recorded scores are closer to the base's than engines agree: nothing can be proved.",
        "train longer or on more data; or set spec.verification to Report, knowing that nothing is proved then.",
    )
    DIGEST_MISMATCH = (
        "DigestMismatch",
        "The store's files are not those that were published. Never loaded.",
        "restore the folder in the store from a backup, or train again; find out who wrote there.",
    )
    LOAD_FAILED = (
        "LoadFailed",
        "It could not be fetched or the engine refused it.",
        "see the message; it is tried again, unless its files do not fit, or an engine that takes adapters only when "
        "it starts ended with it: then name another adapter.",
    )


class Reason(Word):
    """Why a verdict is what it is. Stable words."""

    WAITING = ("Waiting", "Its turn comes.")
    FETCHING = ("Fetching", "Its files are being copied from the store and verified.")
    LOADING = ("Loading", "The engine is taking it in.")
    PROVING = ("Proving", "Its probes are being scored.")
    AWAITING_RESTART = (
        "AwaitingRestart",
        "This engine takes adapters only when it starts; it is started anew when no other replica is.",
    )
    ENGINE_DOWN = ("EngineDown", "The engine went away or came back empty; it is loaded and proved again.")

    PROVED = ("Proved", "Its recorded effect was found again.")

    ANSWERS_AS_BASE = ("AnswersAsBase", "The engine answers as if no adapter were there.")
    LOST_IN_DECODE = (
        "LostInDecode",
        "The adapter's effect is there when a text is read, and gone while one is written.",
    )
    ANSWERS_AS_OTHER = (
        "AnswersAsOther",
        "The effect found under its name is another adapter's, or its effect is found under another's name.",
    )
    ANSWERS_MIXED = (
        "AnswersMixed",
        "Its answers change with what other adapters are asked: the engine mixes them up, in a batch or in its cache.",
    )
    SCORES_UNKNOWN = ("ScoresUnknown", "There is an effect, and it is neither the recorded one nor any other's.")
    BASE_SCORES_UNKNOWN = ("BaseScoresUnknown", "The engine's base is not the one the probes were recorded on.")
    TOKENS_DIFFER = ("TokensDiffer", "The engine reads the probes as other tokens.")
    TOO_CLOSE = ("TooClose", "The recorded effect is smaller than two engines differ by.")

    FILES_CHANGED = ("FilesChanged", "A file in the store is not what was published.")
    MANIFEST_CHANGED = (
        "ManifestChanged",
        "manifest.json in the store is not what was published, or lists other files.",
    )

    ARTIFACT_MISSING = ("ArtifactMissing", "The store has no such folder, or it lacks a file.")
    STORE_FAILED = ("StoreFailed", "The store could not be read.")
    MANIFEST_UNREADABLE = (
        "ManifestUnreadable",
        "manifest.json or probes.json is not what this release of Wardrobe reads.",
    )
    OTHER_BASE = ("OtherBase", "It belongs to another base than the deployment's.")
    VARIANT_NOT_ASSESSED = ("VariantNotAssessed", "It has no recorded scores on the deployment's quantization.")
    UNFIT = ("Unfit", "Its files do not fit the base or the engine; the message says where.")
    REFUSED_BY_ENGINE = ("RefusedByEngine", "The engine would not load it, or ended with it; the message is its own.")
    PROOF_FAILED = ("ProofFailed", "The engine did not answer the probes.")


class ProofNumbers(Record):
    """Mean absolute differences of log-probabilities per completion token (nats), over all probes."""

    probes: NonNegativeInt
    tokens: NonNegativeInt
    separation: NonNegativeFloat
    """Recorded adapter against recorded base: what there is to see."""
    allowed: NonNegativeFloat
    """How far from a recorded score still counts as the same."""
    own: NonNegativeFloat
    """The adapter's effect here against its recorded effect: small when applied."""
    base: NonNegativeFloat
    """The adapter's effect here against none: small when not applied."""
    engine_base: NonNegativeFloat
    """The base here against the recorded base: what the two stacks disagree by."""
    share: float | None = None
    """Σ found·recorded / Σ recorded², over effects by token: 1 applied, 0 not, whatever the engine's noise."""
    share_allowed: NonNegativeFloat | None = None
    """How far from 1 or from 0 the engine's noise may bring `share`."""
    nearest_other: str | None = None
    other: NonNegativeFloat | None = None
    """The effect of `nearest_other` here against this adapter's recorded effect: small when the two are mixed up."""
    alike: list[str] = []
    """The department's other adapters that answer so much like this one that they could be exchanged unseen."""
    decode: NonNegativeFloat | None = None
    """What was generated, as scored while generating, against the same in one prefill."""
    mixed: NonNegativeFloat | None = None
    """The same of what was generated in one batch with other adapters, or to texts that others had read before:
    whichever is farther beyond what is allowed."""


class Timings(Record):
    """Seconds that each step last took."""

    fetch: NonNegativeFloat | None = None
    load: NonNegativeFloat | None = None
    prove: NonNegativeFloat | None = None


class AdapterState(Record):
    """One adapter on one replica."""

    digest: Digest
    verdict: Verdict
    reason: Reason
    message: str = ""
    served: bool = False
    """Whether requests that name it are answered: Applied, or loaded where verification only reports."""
    since: str
    """When verdict or reason last changed, RFC 3339."""
    proved_at: str | None = None
    """When it was last found Applied, RFC 3339; None before, and once the engine has been away."""
    in_flight: NonNegativeInt = 0
    numbers: ProofNumbers | None = None
    timings: Timings = Timings()

    @model_validator(mode="before")
    @classmethod
    def _known_words(cls, given: Any) -> Any:
        """A verdict or reason that a newer agent has is no verdict yet."""
        if not isinstance(given, dict) or (given.get("verdict") in [*Verdict] and given.get("reason") in [*Reason]):
            return given
        words = f"{given.get('verdict')}, {given.get('reason')}"
        message = f"{words}: not known to this release of Wardrobe. {given.get('message', '')}"
        return given | {"verdict": Verdict.PENDING, "reason": Reason.WAITING, "message": message}


class EngineState(Record):
    """The engine beside the agent."""

    up: bool
    since: str
    starts: NonNegativeInt = 0
    """How often the agent has seen it come up."""
    message: str = ""


class EngineSets(Record):
    """Sets of adapters of an engine that takes them at its start, by the digest of names, files and padded form."""

    running: Digest | None = None
    """None while the engine starts or is down."""
    wanted: Digest | None = None
    """Differs from `running` where only a restart gives the engine what is missing, for which a permit is asked: it has
    stayed so for some seconds. An engine that never came up starts without, and asks for none."""
    failed: Digest | None = None
    """The last one that this agent saw not come up. It is not tried again; where no set has come up yet, all are after
    some minutes."""
    on_trial: bool = False
    """What was accepted last has not been proved whole yet, and may turn out as one that does not come up. No other set
    is asked for meanwhile, and no other engine is permitted one."""
    restarting: bool = False
    """Requests are turned away: the engine is drained, stopped, or starts."""
    start_seconds: NonNegativeFloat | None = None
    """What the last set that came up took, from its order to its first answer: with the end of the process before. None
    until this agent has seen one."""


class AgentState(Exchanged):
    """`GET /state` of an engine pod."""

    deployment: str
    generation: NonNegativeInt | None
    """Of the routes that the agent works by; None before the first."""
    incarnation: str
    """Another for each start of the agent."""
    ready: bool
    draining: bool
    engine: EngineState
    adapters: Annotated[dict[str, AdapterState], Field(alias="versions")]
    """By the name that engines know."""
    problem: str = ""
    """Why newer routes are not applied, if they are not."""
    engine_sets: EngineSets | None = None
    """None for an engine that takes adapters while it runs."""

    def serves(self, name: str) -> bool:
        """Whether a request that names this adapter is answered here."""
        found = self.adapters.get(name)
        return found is not None and found.served and self.engine.up and not self.draining


class BackendState(Record):
    """One engine pod as a router sees it."""

    address: str
    answering: bool
    generation: NonNegativeInt | None = None
    serves: list[str] = []
    in_flight: NonNegativeInt = 0


class RouterState(Exchanged):
    """`GET /state` of a router."""

    deployment: str
    generation: NonNegativeInt | None
    """Of the routes that requests are routed by; None before the first."""
    incarnation: str
    ready: bool
    draining: bool
    connected: bool
    """Whether the routes are being watched; else the last ones known are used."""
    backends: list[BackendState]
    keys: dict[str, NonNegativeInt]
    """Usable keys per routed department."""
    missing_keys: list[str]
    """Departments without any key, whose requests are all refused."""
    duplicate_keys: list[str]
    """Departments of which a key is another's too; such a key opens none."""
    weak_keys: list[str] = []
    """Departments of which a key has fewer than 16 characters, or others than visible ASCII; such a key opens none."""
    problem: str = ""
    """Why newer routes are not applied, if they are not."""
