//! TLS and DTLS.

use super::super::values::text;
use super::{Known, flag, ignored, ignored_flag, refused, refused_flag, value};

const MODERN: &str = "TLS 1.2 and 1.3 only, with forward secrecy and authenticated ciphers";
const NO_DH: &str = "keys are exchanged over elliptic curves only";
const NEVER: &str = "never spoken";

pub(super) const OPTIONS: &[Known] = &[
    value("cert", |draft, line| {
        draft.cert = Some(line.set(text)?);
        Ok(())
    }),
    value("pkey", |draft, line| {
        draft.key = Some(line.set(text)?);
        Ok(())
    }),
    refused(
        "pkey-pwd",
        "encrypted keys are not read; decrypt it (openssl pkey) and protect the file by its owner and mode",
    ),
    refused("CA-file", "certificates of clients are not asked for, so anybody with credentials would get in"),
    flag("no-tls", |draft, on| draft.no_tls = Some(on)),
    flag("dtls", |draft, on| draft.dtls = Some(on)),
    flag("no-dtls", |draft, on| draft.no_dtls = Some(on)),
    ignored("cipher-list", MODERN),
    ignored("ec-curve-name", MODERN),
    ignored_flag("tlsv1", MODERN),
    ignored_flag("tlsv1_1", MODERN),
    ignored_flag("no-sslv2", NEVER),
    ignored_flag("no-sslv3", NEVER),
    ignored_flag("no-tlsv1", NEVER),
    ignored_flag("no-tlsv1_1", NEVER),
    refused_flag("no-tlsv1_2", "TLS 1.2 cannot be turned off; it is spoken with modern ciphers only"),
    ignored("dh-file", NO_DH),
    ignored_flag("dh566", NO_DH),
    ignored_flag("dh1066", NO_DH),
    ignored_flag("dh2066", NO_DH),
    ignored_flag("raw-public-keys", "clients get the certificate"),
];
