"""The Job that holds an Adapter which somebody wrote by hand against the files that it names."""

from wardrobe.api import adapter
from wardrobe.api.adapter import AdapterResource, EvaluationSpec
from wardrobe.api.finetunejob import PodSettings
from wardrobe.base.ready import ReadyBase
from wardrobe.manifests import volumes
from wardrobe.settings import Settings
from wardrobe.stage import job as task_job
from wardrobe.stage.job import WITHOUT_BASE, Made, TaskJob
from wardrobe.stage.stage import Stage
from wardrobe_contracts import paths
from wardrobe_contracts.verification import Measured, VerifyConfig

VERIFY = Stage(task="verify", more_memory="The limit is Wardrobe's own")

LONGEST_LINE = 30
"""Of a line's name in those of Jobs, which have 63 characters and end in uid, task and number."""


def run_name(found: AdapterResource) -> str:
    """The verification's folder in the store. Another Adapter of the same name is another one."""
    line = found.spec.line[:LONGEST_LINE].rstrip("-")
    return f"{line}-v{found.spec.version}-{found.metadata.uid[:8]}"


def verify_job(found: AdapterResource, base: ReadyBase, pod: PodSettings, number: int, settings: Settings) -> Made:
    """Attempt `number`. It goes where its base's inspection went: an Adapter says nothing of pods."""
    spec = found.spec
    order = VerifyConfig(
        base=base.location,
        base_reference=base.reference,
        adapter=found.metadata.name,
        artifact=spec.artifact.path,
        artifact_folder=f"{paths.STORE}/{spec.artifact.path}",
        digest=spec.digest,
        manifest_digest=spec.manifest_digest,
        rank=spec.lora.rank,
        alpha=spec.lora.alpha,
        scaling=spec.lora.scaling,
        target_modules=spec.lora.target_modules,
        measured=[_measured(one) for one in spec.evaluations],
        verdict=spec.verdict,
        output_folder=f"{paths.RUN}/verify",
    )
    job = TaskJob(
        stage=VERIFY,
        number=number,
        run=run_name(found),
        owner_kind=adapter.KIND,
        owner=found.metadata,
        base_digest=base.digest,
        order=order,
        mounts=[base.mount, volumes.store(), volumes.run(run_name(found))],
        resources=WITHOUT_BASE,
        pod=pod,
    )
    return task_job.build(job, settings)


def _measured(one: EvaluationSpec) -> Measured:
    return Measured(variant=one.variant, base=float(one.base.loss), candidate=float(one.candidate.loss))
