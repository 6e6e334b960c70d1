# The batchkms emulator: a KMS for tests, over TLS with a CA of its own. See docs/emulator.md.
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY batchkms ./batchkms
RUN pip install --no-cache-dir . && useradd --uid 10001 --no-create-home emulator \
    && install -d -o emulator -g emulator -m 0700 /data

USER emulator
WORKDIR /data
VOLUME /data
EXPOSE 8899
# Other options given to `docker run` take the place of those of CMD, and not of these.
ENTRYPOINT ["batchkms", "emulator", "--host", "0.0.0.0", "--port", "8899", "--data-dir", "/data"]
CMD ["--tls"]
