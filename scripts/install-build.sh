#!/usr/bin/env bash
# What `make run` needs beside Rust: a C compiler for the cryptography library, and certificates for crates.io.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_rust
if ! have cc || [ ! -e /usr/include/stdio.h ] || [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
    apt_install gcc libc6-dev ca-certificates
fi
