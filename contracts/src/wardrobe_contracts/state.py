"""What agents and routers say of themselves at `GET /state`; the operator and the routers read it from pod IPs."""

from enum import StrEnum

from pydantic import NonNegativeFloat, NonNegativeInt

from .base import Digest, Record

STATE_PATH = "/state"
READY_PATH = "/readyz"
HEALTH_PATH = "/healthz"
METRICS_PATH = "/metrics"
VERSION_HEADER = "X-Wardrobe-Version"
DIGEST_HEADER = "X-Wardrobe-Digest"
DEPARTMENT_HEADER = "X-Wardrobe-Department"


class Verdict(StrEnum):
    """What this replica knows of a version."""

    PENDING = "Pending"
    """No verdict yet; the reason says what is being done."""
    APPLIED = "Applied"
    """Given to the engine with this digest, and its effect is present, in prefill and in decode."""
    NOT_APPLIED = "NotApplied"
    """Loaded, but the engine answers as the base (or does so in decode)."""
    WRONG_VERSION = "WrongVersion"
    """Loaded, but the engine answers as another version."""
    DIVERGED = "Diverged"
    """Loaded, but the scores are those of nothing known."""
    INDISTINGUISHABLE = "Indistinguishable"
    """Recorded scores are closer to the base's than engines agree: nothing can be proved."""
    DIGEST_MISMATCH = "DigestMismatch"
    """The store's files are not those that were published. Never loaded."""
    LOAD_FAILED = "LoadFailed"
    """It could not be fetched or the engine refused it."""


class Reason(StrEnum):
    """Why a verdict is what it is. Stable words."""

    WAITING = "Waiting"
    FETCHING = "Fetching"
    LOADING = "Loading"
    PROVING = "Proving"
    ENGINE_DOWN = "EngineDown"

    PROVED = "Proved"

    ANSWERS_AS_BASE = "AnswersAsBase"
    LOST_IN_DECODE = "LostInDecode"
    ANSWERS_AS_OTHER = "AnswersAsOther"
    SCORES_UNKNOWN = "ScoresUnknown"
    BASE_SCORES_UNKNOWN = "BaseScoresUnknown"
    """The engine's base is not the one the probes were recorded on."""
    TOKENS_DIFFER = "TokensDiffer"
    """The engine reads the probes as other tokens."""
    TOO_CLOSE = "TooClose"

    FILES_CHANGED = "FilesChanged"
    MANIFEST_CHANGED = "ManifestChanged"

    ARTIFACT_MISSING = "ArtifactMissing"
    STORE_FAILED = "StoreFailed"
    MANIFEST_UNREADABLE = "ManifestUnreadable"
    OTHER_BASE = "OtherBase"
    VARIANT_NOT_ASSESSED = "VariantNotAssessed"
    REFUSED_BY_ENGINE = "RefusedByEngine"
    PROOF_FAILED = "ProofFailed"
    """The engine did not answer the probes."""


class ProofNumbers(Record):
    """Mean absolute differences of log-probabilities per completion token (nats), over all probes."""

    probes: NonNegativeInt
    tokens: NonNegativeInt
    separation: NonNegativeFloat
    """Recorded adapter against recorded base: what there is to see."""
    allowed: NonNegativeFloat
    """How far from a recorded score still counts as the same."""
    own: NonNegativeFloat
    """The version's effect here against its recorded effect: small when applied."""
    base: NonNegativeFloat
    """The version's effect here against none: small when not applied."""
    engine_base: NonNegativeFloat
    """The base here against the recorded base: what the two stacks disagree by."""
    nearest_other: str | None = None
    other: NonNegativeFloat | None = None
    """The effect of `nearest_other` here against this version's recorded effect: small when the two are mixed up."""
    decode: NonNegativeFloat | None = None
    """What was generated, as scored while generating, against the same in one prefill."""


class Timings(Record):
    """Seconds that each step last took."""

    fetch: NonNegativeFloat | None = None
    load: NonNegativeFloat | None = None
    prove: NonNegativeFloat | None = None


class VersionState(Record):
    """One version on one replica."""

    digest: Digest
    verdict: Verdict
    reason: Reason
    message: str = ""
    served: bool = False
    """Whether requests that name it are answered: Applied, or loaded where verification only reports."""
    since: str
    """When verdict or reason last changed, RFC 3339."""
    in_flight: NonNegativeInt = 0
    numbers: ProofNumbers | None = None
    timings: Timings = Timings()


class EngineState(Record):
    """The engine beside the agent."""

    up: bool
    since: str
    starts: NonNegativeInt = 0
    """How often the agent has seen it come up."""
    message: str = ""


class AgentState(Record):
    """`GET /state` of an engine pod."""

    deployment: str
    generation: NonNegativeInt | None
    """Of the routes that the agent works by; None before the first."""
    incarnation: str
    """Another for each start of the agent."""
    ready: bool
    draining: bool
    engine: EngineState
    versions: dict[str, VersionState]
    problem: str = ""
    """Why newer routes are not applied, if they are not."""

    def serves(self, version: str) -> bool:
        """Whether a request that names this version is answered here."""
        found = self.versions.get(version)
        return found is not None and found.served and self.engine.up and not self.draining


class BackendState(Record):
    """One engine pod as a router sees it."""

    address: str
    answering: bool
    generation: NonNegativeInt | None = None
    serves: list[str] = []
    in_flight: NonNegativeInt = 0


class RouterState(Record):
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
    problem: str = ""
    """Why newer routes are not applied, if they are not."""
