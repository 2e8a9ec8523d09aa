# synthreal on the CPU, with its three domains:
#   docker build -t synthreal .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD":/work synthreal adapt renders photographs refined
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md constraints.txt ./
COPY synthreal synthreal
COPY plugins plugins
RUN python -m venv /opt/synthreal \
 && /opt/synthreal/bin/pip install --no-cache-dir -c constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu \
    ".[report,tensorboard,web,hub]" ./plugins/gaze ./plugins/hands ./plugins/signs

FROM python:3.12-slim
COPY --from=build /opt/synthreal /opt/synthreal
RUN useradd --create-home --uid 1000 synthreal && mkdir /work && chown synthreal /work
ENV PATH=/opt/synthreal/bin:$PATH PYTHONUNBUFFERED=1 NO_ALBUMENTATIONS_UPDATE=1 MPLCONFIGDIR=/tmp/matplotlib
USER synthreal
WORKDIR /work
ENTRYPOINT ["synthreal"]
CMD ["--help"]
