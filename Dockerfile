# Dependencies are a layer of their own, keyed by pyproject.toml: a change of the source installs
# Knockon alone.

FROM python:3.12-slim AS dependencies
COPY pyproject.toml /tmp/
RUN python3 -m venv /opt/knockon \
 && /opt/knockon/bin/python -c "import tomllib; \
print(*tomllib.load(open('/tmp/pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > /tmp/requirements.txt \
 && /opt/knockon/bin/pip install --no-cache-dir --requirement /tmp/requirements.txt
ENV PATH=/opt/knockon/bin:$PATH

FROM dependencies AS wheel
RUN pip install --no-cache-dir "hatchling>=1.27"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY knockon knockon
COPY engine engine
COPY consumers consumers
COPY sql sql
COPY examples examples
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM dependencies
RUN useradd --create-home --uid 10001 knockon
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

USER knockon
WORKDIR /home/knockon
ENV KNOCKON_LOG_FORMAT=json PYTHONUNBUFFERED=1
ENTRYPOINT ["knockon"]
