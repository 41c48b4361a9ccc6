//! Proof of possession: a device-bound token (`cnf.jkt`, RFC 7800) is good only together with a signature by the
//! device's key over the nonce of this socket's `hello`.
//!
//! The key is a P-256 public key as a JWK, the proof an ES256 signature (RFC 7518 section 3.4: 64 bytes, r and s) in
//! base64url: what WebCrypto's `sign({name: "ECDSA", hash: "SHA-256"}, key, nonce)` gives.

use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::code::{Code, Refusal};
use crate::token::Confirmation;

/// Checks that whoever sent `key` and `proof` holds the key that the token is bound to.
///
/// # Errors
/// [`Code::DeviceMismatch`], with the step that failed.
pub fn check_proof(bound: &Confirmation, key: Option<&Value>, proof: Option<&str>, nonce: &str) -> Result<(), Refusal> {
    let mismatch = |why: &str| Refusal::new(Code::DeviceMismatch, format!("the token is bound to a device: {why}"));
    let (Some(key), Some(proof)) = (key, proof) else {
        return Err(mismatch("`key` and `proof` are needed"));
    };
    let jwk: Jwk = serde_json::from_value(key.clone()).map_err(|_| mismatch("`key` is not a JWK"))?;
    // RFC 7638 section 3: the thumbprint stands for the key, so the key that the client sent may be trusted once they agree.
    let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| mismatch("`key` is not a P-256 key"))?;
    if thumbprint != bound.jkt {
        return Err(mismatch("this is another device's key"));
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| mismatch("`key` is not a P-256 key"))?;
    match jsonwebtoken::crypto::verify(proof, nonce.as_bytes(), &key, Algorithm::ES256) {
        Ok(true) => Ok(()),
        _ => Err(mismatch("`proof` is not this key's signature over the nonce")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with `crypto.subtle` of node 20: generateKey P-256, sign over the ASCII text "nonce-1".
    const KEY: &str = include_str!("device/key.json");
    const THUMBPRINT: &str = include_str!("device/thumbprint.txt");
    const PROOF: &str = include_str!("device/proof.txt");

    fn check(thumbprint: &str, key: Option<&Value>, proof: Option<&str>, nonce: &str) -> Result<(), Code> {
        check_proof(&Confirmation { jkt: thumbprint.into() }, key, proof, nonce).map_err(|refusal| refusal.code)
    }

    #[test]
    fn webcrypto_signs_and_nobody_else() {
        let key: Value = serde_json::from_str(KEY).expect("a JWK");
        let (thumbprint, proof) = (THUMBPRINT.trim(), PROOF.trim());
        assert_eq!(check(thumbprint, Some(&key), Some(proof), "nonce-1"), Ok(()));
        let refused = Err(Code::DeviceMismatch);
        assert_eq!(check(thumbprint, Some(&key), Some(proof), "nonce-2"), refused, "a replayed proof");
        assert_eq!(check("abc", Some(&key), Some(proof), "nonce-1"), refused, "another device's token");
        assert_eq!(check(thumbprint, Some(&key), None, "nonce-1"), refused);
        assert_eq!(check(thumbprint, None, Some(proof), "nonce-1"), refused);
        assert_eq!(check(thumbprint, Some(&Value::Null), Some(proof), "nonce-1"), refused);
        assert_eq!(check(thumbprint, Some(&key), Some("@@"), "nonce-1"), refused);
        let mut forged = key.clone();
        forged["x"] = Value::from("AAAA\",\"y\":\"BBBB");
        assert_eq!(check(thumbprint, Some(&forged), Some(proof), "nonce-1"), refused);
    }
}
