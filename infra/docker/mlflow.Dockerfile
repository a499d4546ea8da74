# The MLflow server of infra/compose and infra/kubernetes, with its migrations and its backup.
#   docker build --file infra/docker/mlflow.Dockerfile --build-arg REVISION=$(git rev-parse HEAD) --tag ganflow-mlflow .
FROM python:3.11-slim AS build
COPY constraints.txt /tmp/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --constraint /tmp/constraints.txt \
        'mlflow[auth]' boto3 psycopg2-binary \
    && /opt/venv/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ganflow-mlflow" \
      org.opencontainers.image.description="MLflow server with PostgreSQL, S3 and users" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /opt/venv /opt/venv
COPY infra/docker/mlflow /opt/ganflow

# The database is libpq's: PGHOST, PGUSER, PGPASSWORD …, so that no address holds a password.
# Jobs are MLflow's evaluations of language models: seven processes that nobody here needs.
# A worker that loads for more than uvicorn's 5 s, on a busy processor, would be ended and begun again for ever.
ENV PATH="/opt/venv/bin:$PATH" \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MLFLOW_AUTH_CONFIG_PATH=/opt/ganflow/basic_auth.ini \
    MLFLOW_BACKEND_STORE_URI=postgresql+psycopg2:// \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    MLFLOW_UVICORN_OPTS="--timeout-worker-healthcheck=120"

# Needs nothing writable but /tmp.
USER 10001:10001
WORKDIR /tmp
EXPOSE 5000
CMD ["mlflow", "server", "--app-name=basic-auth", "--host=0.0.0.0", "--port=5000", "--serve-artifacts"]
