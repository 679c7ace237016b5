"""The Job that looks at a BaseModel's files."""

from wardrobe.api import basemodel
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import Manifest
from wardrobe.manifests import volumes
from wardrobe.settings import Settings
from wardrobe.stage import job as task_job
from wardrobe.stage.job import Made, TaskJob
from wardrobe.stage.stage import Stage
from wardrobe_contracts import paths
from wardrobe_contracts.inspection import ChatTemplate, InspectConfig

INSPECT = Stage(task="inspect", more_memory="Raise spec.pod.resources.limits.memory")

RESOURCES: Manifest = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "4Gi"}}
"""Reading headers and hashing files needs little; the limit is the tokenizer library's import and some room."""


def run_name(base: BaseModelResource) -> str:
    """The inspection's folder in the store. Another BaseModel of the same name is another one."""
    return f"{earlier_run_name(base)}s"  # samples are in the fingerprint


def earlier_run_name(base: BaseModelResource) -> str:
    """The same for the inspection that took the fingerprint in its older form."""
    return f"{base.metadata.name}-{base.metadata.uid[:8]}"


def inspect_job(base: BaseModelResource, number: int, settings: Settings) -> Made:
    """Attempt `number` of the inspection."""
    source = base.spec.claim
    order = InspectConfig(
        base_folder=f"{paths.MODELS}/{source.path}",
        source=base.spec.source,
        output_folder=f"{paths.RUN}/inspect",
        chat_template=ChatTemplate(variables=base.spec.chat_template.scalars, date=base.spec.chat_template.day),
    )
    job = TaskJob(
        stage=INSPECT,
        number=number,
        run=run_name(base),
        owner_kind=basemodel.KIND,
        owner=base.metadata,
        base_digest="",
        order=order,
        mounts=[volumes.models(source), volumes.run(run_name(base))],
        resources=base.spec.pod.resources or RESOURCES,
        pod=base.spec.pod,
    )
    return task_job.build(job, settings)
