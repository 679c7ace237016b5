"""Results as the trainer's tasks report them, for tests in which no task runs."""

from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.base import Task, Variant
from wardrobe_contracts.check import CheckReport, Frame, TokenLengths
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.gate import Against, Judgement, Metric, Outcome, Verdict
from wardrobe_contracts.imports import Imported
from wardrobe_contracts.inspection import Inspection, Shape, TokenizerFacts
from wardrobe_contracts.manifest import Comparison, Evaluation, IncumbentScores, Interval, NotAssessed, Score
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.release import Release
from wardrobe_contracts.result import Payload, Result
from wardrobe_contracts.training import Lora, Scaling, TrainingSummary
from wardrobe_contracts.verification import Verified


def digest(letter: str) -> str:
    """A well-formed digest that is easy to tell apart."""
    return f"sha256:{letter * 64}"


SHAPE = Shape(
    architecture="LlamaForCausalLM",
    model_type="llama",
    parameters=5_770_000,
    hidden_size=256,
    intermediate_size=768,
    layers=6,
    attention_heads=8,
    key_value_heads=4,
    head_dim=32,
    vocabulary_size=4096,
    context_length=1024,
    dtype="bfloat16",
    tied_embeddings=True,
)
INSPECTION = Inspection(
    digest=digest("a"),
    fingerprint=f"sampled:{digest('b')}",
    files=7,
    size_bytes=11_800_000,
    shape=SHAPE,
    tokenizer=TokenizerFacts(
        digest=digest("c"),
        vocabulary_size=4096,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        chat_template_digest=digest("d"),
        generation_marker=False,
    ),
)
REPORT = CheckReport(
    dataset_digest=digest("1"),
    train_digest=digest("2"),
    heldout_digest=digest("3"),
    rows=555,
    train_rows=457,
    train_examples=461,
    heldout_rows=98,
    dropped_rows=0,
    truncated_rows=3,
    duplicate_rows=2,
    conflicting_prompts=1,
    shared_answers=4,
    tokens=TokenLengths(min=40, median=200, p95=400, max=700),
    label_tokens=90_000,
    label_density=0.8,
    frame=Frame(opening="Hello.", closing="Good bye."),
    warnings=["fewer than 500 rows to train on"],
)
IMPORTED = Imported(
    digest=digest("8"),
    size_bytes=2_000_000,
    lora=Lora(rank=8, alpha=16, dropout=0.05, target_modules=["q_proj", "v_proj"], scaling=Scaling.RANK_STABILIZED),
)
SUMMARY = TrainingSummary(
    steps=114,
    tokens=180_000,
    seconds=61.5,
    first_loss=4.1,
    last_loss=2.4,
    trainable_parameters=500_000,
    peak_memory_bytes=1_000_000_000,
    packages={"torch": "2.13.0", "peft": "0.21.2"},
)


def evaluation(variant: Variant, base: float = 4.07, candidate: float = 2.48) -> Evaluation:
    """Held-out scores on one variant."""
    whole = Comparison(base=Score.of(base * 1000, 1000), candidate=Score.of(candidate * 1000, 1000))
    body = Comparison(base=Score.of(3.47 * 800, 800), candidate=Score.of(3.36 * 800, 800))
    return Evaluation(variant=variant, whole=whole, body=body)


ASSESSMENT = Assessment(
    digest=digest("e"),
    manifest_digest=digest("f"),
    size_bytes=2_000_000,
    rank=16,
    target_modules=["q_proj", "v_proj"],
    evaluations=[evaluation(variant) for variant in Variant],
    probes=8,
)


FAILED = Judgement(
    metric=Metric.LOSS,
    against=Against.INCUMBENT,
    max_regression=0.02,
    outcome=Outcome.FAILED,
    variant=Variant.NF4,
    adapter="cardiology-v1",
    reference=2.4,
    candidate=2.48,
    regression=0.033333,
    low=0.01,
    high=0.05,
)
PASSED = Judgement(
    metric=Metric.LOSS,
    against=Against.BASE,
    max_regression=0,
    outcome=Outcome.PASSED,
    variant=Variant.NF4,
    reference=4.07,
    candidate=2.48,
    regression=-0.390663,
    low=-0.4,
    high=-0.38,
)


def judged() -> Assessment:
    """Of a version that its gate rejected, on one variant of two, beside one incumbent, on fewer rows than held out."""
    found = evaluation(Variant.NF4)
    difference = Interval(low=-1.7, high=-1.5)
    other = IncumbentScores(
        name="cardiology-v1",
        digest=digest("7"),
        whole=Score.of(2400, 1000),
        body=Score.of(2600, 800),
        whole_difference=Interval(low=0.03, high=0.13),
        body_difference=Interval(low=-0.1, high=0.18),
    )
    whole = found.whole.model_copy(update={"difference": difference})
    body = found.body.model_copy(update={"difference": difference})
    lost = NotAssessed(variant=Variant.NONE, reason=Reason.OUT_OF_MEMORY, message="too large", needed_bytes=7)
    return ASSESSMENT.model_copy(
        update={
            "evaluations": [found.model_copy(update={"whole": whole, "body": body, "incumbents": [other]})],
            "not_assessed": [lost],
            "evaluated_rows": 50,
            "verdict": Verdict.REJECTED,
            "gate": [FAILED, PASSED],
        }
    )


RELEASE = Release(
    digest=digest("9"), files=7, size_bytes=11_800_000, evaluation=evaluation(Variant.NONE), evaluated_rows=50
)


VERIFIED = Verified(digest=digest("e"), size_bytes=2_000_000)


def success(task: Task) -> Result:
    """The task's success."""
    payloads: dict[Task, Payload] = {
        "inspect": INSPECTION,
        "check": REPORT,
        "import": IMPORTED,
        "train": SUMMARY,
        "assess": ASSESSMENT,
        "release": RELEASE,
        "verify": VERIFIED,
    }
    return Result.success("done", payloads[task])


def failure(task: Task, code: ExitCode, reason: Reason) -> Result:
    """The task's failure, with a problem in four parts."""
    problem = Problem(field="spec.dataset.source", value="x", rule="rows are JSON", next_step="Mend row 3")
    return Result.failure(task, code, reason, str(problem), problem)


def preempted(task: Task) -> Result:
    """The task was stopped from outside."""
    return Result.failure(task, ExitCode.PREEMPTED, Reason.TERMINATED, "the node drains")
