# The image of every member, one target each. From the repository's root:
#   docker build --target operator --tag wardrobe-operator .        (or gateway, trainer, engine)
# `make images-check` builds and starts them. Folder, entry point, user and variables are those of the development
# cluster's images (devcluster/images.py): tests compare. docs/adr/0015-images.md says why it is built so.

# Bookworm for its Python 3.11, which is also the one that pods of the development cluster run.
ARG BASE=debian:bookworm-slim
# What target `tgi` is made from.
ARG TGI=ghcr.io/huggingface/text-generation-inference:3.3.7

FROM ${BASE} AS python
RUN apt-get update --quiet \
    && apt-get install --quiet --yes --no-install-recommends python3.11 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
    && useradd --uid 10001 --user-group --home-dir /tmp --no-create-home --no-log-init wardrobe

# Nothing of this stage but the environments gets into an image: no uv, no pip, no sources.
FROM python AS build
ARG UV=0.13.9
# For a company's own certificates, mount their folder at /usr/local/share/ca-certificates while building.
RUN apt-get update --quiet \
    && apt-get install --quiet --yes --no-install-recommends ca-certificates python3.11-venv \
    && python3.11 -m venv /opt/uv \
    && /opt/uv/bin/pip install --quiet --no-cache-dir uv==${UV}
ENV PATH=/opt/uv/bin:/usr/bin:/bin \
    UV_PYTHON=/usr/bin/python3.11 \
    UV_PYTHON_DOWNLOADS=never \
    UV_SYSTEM_CERTS=true \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=true \
    UV_NO_DEV=true \
    UV_NO_EDITABLE=true
# Half of operator and gateway would be the Kubernetes client's generated classes, which they never load (ADR 7).
ENV UNUSED="kubernetes/client/api kubernetes/aio/client/api \
            kubernetes/client/models/__pycache__ kubernetes/aio/client/models/__pycache__"
WORKDIR /source
COPY . .

FROM build AS operator-environment
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_PROJECT_ENVIRONMENT=/opt/wardrobe/operator uv sync --locked --package wardrobe \
    && cd /opt/wardrobe/operator && rm .lock && cd lib/python3.11/site-packages && rm -r ${UNUSED}

FROM python AS operator
COPY --from=operator-environment /opt/wardrobe/operator /opt/wardrobe/operator
ENV PATH=/opt/wardrobe/operator/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /
ENTRYPOINT ["wardrobe-operator"]

# Router pods run it as it is, engine pods its other command, wardrobe-agent.
FROM build AS gateway-environment
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_PROJECT_ENVIRONMENT=/opt/wardrobe/gateway uv sync --locked --package wardrobe-gateway \
    && cd /opt/wardrobe/gateway && rm .lock && cd lib/python3.11/site-packages && rm -r ${UNUSED}

FROM python AS gateway
COPY --from=gateway-environment /opt/wardrobe/gateway /opt/wardrobe/gateway
ENV PATH=/opt/wardrobe/gateway/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /
ENTRYPOINT ["wardrobe-router"]

FROM build AS trainer-environment
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_PROJECT_ENVIRONMENT=/opt/wardrobe/trainer uv sync --locked --package wardrobe-trainer \
    && rm /opt/wardrobe/trainer/.lock

# Triton compiles a Python module in C before a GPU's first kernel: TRL's loss is one.
FROM python AS trainer
RUN apt-get update --quiet \
    && apt-get install --quiet --yes --no-install-recommends gcc libc6-dev libpython3.11-dev \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*
COPY --from=trainer-environment /opt/wardrobe/trainer /opt/wardrobe/trainer
ENV PATH=/opt/wardrobe/trainer/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /
ENTRYPOINT ["wardrobe-trainer"]

FROM build AS engine-environment
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_PROJECT_ENVIRONMENT=/opt/wardrobe/engine uv sync --locked --package wardrobe-engine \
    && rm /opt/wardrobe/engine/.lock

FROM python AS engine
COPY --from=engine-environment /opt/wardrobe/engine /opt/wardrobe/engine
ENV PATH=/opt/wardrobe/engine/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /
ENTRYPOINT ["wardrobe-engine"]

# TGI's own image works as root only: its Python lies below /root (its issue #3082). Its entry point, which the wrapper
# stands in for, puts the environment's programs first on PATH.
FROM ${TGI} AS tgi
USER root
RUN chmod a+x /root
ENV PATH=/usr/src/.venv/bin:${PATH}
USER 10001
WORKDIR /tmp
ENTRYPOINT ["text-generation-launcher"]
