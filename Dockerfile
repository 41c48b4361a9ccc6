# One image with both programs: `turn-server` (the default) and `recorder`.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The secret is for networks that put a certificate of their own before crates.io: --secret id=ca,src=ca.crt
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    --mount=type=secret,id=ca,target=/run/secrets/ca.crt,required=false \
    if [ -s /run/secrets/ca.crt ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca.crt; fi; \
    cargo build --release --locked && install -D -t /out target/release/turn-server target/release/recorder

FROM debian:bookworm-slim
# Certificates, because S3 is usually behind TLS.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin tern \
    # New volumes take over who owns the folder that they are mounted on.
    && install -d -o tern -g tern -m 0750 /data /secrets
COPY --from=build /out/ /usr/local/bin/
USER tern
WORKDIR /
EXPOSE 8080/tcp 8443/tcp 3478/udp 3478/tcp 8189/udp 8189/tcp
HEALTHCHECK --interval=5s --timeout=3s --retries=12 CMD ["turn-server", "ready"]
CMD ["turn-server"]
