//! `sdpz`: an SDP as base64 of gzip. A browser's offer shrinks from 20 kB to 2 kB this way.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use signalling::code::{Code, Refusal};

/// Unpacks an SDP of at most `limit` bytes.
///
/// # Errors
/// [`Code::BadRequest`] when it is not what it should be, [`Code::TooLarge`] when it unpacks to more.
pub(crate) fn sdp(packed: &str, limit: usize) -> Result<String, Refusal> {
    let bad = |why: &str| Refusal::new(Code::BadRequest, format!("`sdpz` is not {why}"));
    let packed = STANDARD.decode(packed).map_err(|_| bad("base64"))?;
    let mut bytes = Vec::new();
    let within = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    GzDecoder::new(packed.as_slice()).take(within).read_to_end(&mut bytes).map_err(|_| bad("gzip"))?;
    if bytes.len() > limit {
        return Err(Refusal::new(Code::TooLarge, format!("`sdpz` unpacks to more than {limit} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| bad("UTF-8 inside"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn pack(text: &[u8]) -> String {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).expect("written");
        STANDARD.encode(encoder.finish().expect("packed"))
    }

    #[test]
    fn an_offer_unpacks_and_a_bomb_does_not() {
        assert_eq!(sdp(&pack(b"v=0"), 3), Ok("v=0".into()));
        let code = |packed: &str| sdp(packed, 1000).map_err(|refusal| refusal.code);
        assert_eq!(code(&pack(&vec![b' '; 1_000_000])), Err(Code::TooLarge));
        assert_eq!(code("%"), Err(Code::BadRequest));
        assert_eq!(code("djA="), Err(Code::BadRequest));
        assert_eq!(code(&pack(&[0xff])), Err(Code::BadRequest));
    }
}
