FROM python:3.12-slim

RUN useradd --create-home --uid 10001 knockon
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY consumers consumers
COPY sql sql
COPY examples examples
RUN pip install --no-cache-dir . && rm -rf /src

USER knockon
WORKDIR /home/knockon
ENV KNOCKON_LOG_FORMAT=json PYTHONUNBUFFERED=1
ENTRYPOINT ["knockon"]
