# The query service in AWS Lambda: docker build -f lambda.Dockerfile -t lakehouse-query .
# Settings come with the function: LAKEHOUSE_STORAGE=s3://bucket/prefix, and a role that may read published/ there.
FROM public.ecr.aws/lambda/python:3.11

# The dependencies first: changed code does not install them again.
COPY requirements-lambda.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-lambda.lock

COPY lakehouse lakehouse/

# The only folder that may be written there; it holds links to DuckDB's extensions.
ENV LAKEHOUSE_DATA_DIR=/tmp/lakehouse
# No USER: Lambda runs it as one of its own, on a read-only file system, whatever stands here.
CMD ["lakehouse.query.http.aws_lambda.handler"]
