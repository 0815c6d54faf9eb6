# The one image of docker-compose.yml. Nothing secret goes in: settings come with the environment, at run time.
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN useradd --create-home --uid 10001 lakehouse && install -d -o lakehouse -g lakehouse /data
WORKDIR /app

# The dependencies first: a changed model does not install them again.
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock

COPY pyproject.toml README.md workspace.yaml ./
COPY dagster_home/dagster.yaml dagster_home/
COPY dlt_sources dlt_sources/
COPY lakehouse lakehouse/
COPY lakehouse_assets lakehouse_assets/
COPY sqlmesh_project sqlmesh_project/
# Editable, as everywhere: the models and Dagster's home are found beside the code.
# Compiled here: a container's file system is read-only.
RUN pip install --no-deps --no-build-isolation -e . \
    && python -m compileall -q lakehouse lakehouse_assets dlt_sources sqlmesh_project \
    && chown -R lakehouse:lakehouse dagster_home

USER lakehouse
CMD ["lakehouse", "--help"]
