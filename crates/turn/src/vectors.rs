//! The test vectors of RFC 5769, through the codec as this crate uses it. Tests only.

use stun_types::attribute::XorMappedAddress;
use stun_types::message::{
    LongTermKeyCredentials, Message, MessageIntegrityCredentials, MessageType, ShortTermCredentials, ValidateError,
};

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

/// Section 2.1.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff\
    80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004\
    e57a3bcf";
/// Section 2.2.
const RESPONSE_V4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147\
    e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
/// Section 2.3.
const RESPONSE_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a147\
    0113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c";
/// Section 2.4.
const LONG_TERM: &str = "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b90000\
    0015001c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b6578616d706c652e6f72670000080014f6702465\
    6dd64a3e02b8e0712e85c9a28ca89666";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn short_term() -> MessageIntegrityCredentials {
    ShortTermCredentials::new(PASSWORD.into()).into()
}

/// Rule: stun-vectors, stun-fingerprint
#[test]
fn the_sample_messages_are_read_and_verified() {
    for (hex, kind, address) in [
        (REQUEST, 0x0001, None),
        (RESPONSE_V4, 0x0101, Some("192.0.2.1:32853")),
        (RESPONSE_V6, 0x0101, Some("[2001:db8:1234:5678:11:2233:4455:6677]:32853")),
    ] {
        let bytes = bytes(hex);
        let message = Message::from_bytes(&bytes).unwrap();
        assert_eq!(message.get_type(), MessageType::from_bytes(&u16::to_be_bytes(kind)).unwrap());
        assert!(message.validate_integrity(&short_term()).is_ok());
        let mapped = message.attribute::<XorMappedAddress>().ok();
        let mapped = mapped.map(|mapped| mapped.addr(message.transaction_id()));
        assert_eq!(mapped, address.map(|address| address.parse().unwrap()));
    }
}

#[test]
fn a_changed_byte_is_noticed() {
    let mut changed = bytes(RESPONSE_V4);
    changed[25] ^= 1;
    assert!(Message::from_bytes(&changed).is_err(), "by the fingerprint");
    changed.truncate(changed.len() - 8);
    changed[3] -= 8;
    let message = Message::from_bytes(&changed).unwrap();
    assert!(matches!(message.validate_integrity(&short_term()), Err(ValidateError::IntegrityFailed)));
}

#[test]
fn the_long_term_sample_is_verified_by_our_credentials() {
    let name = "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}";
    let bytes = bytes(LONG_TERM);
    let message = Message::from_bytes(&bytes).unwrap();
    let credentials =
        crate::Credentials::new("example.org", [(name, crate::Key::of_password(name, "example.org", "TheMatrIX"))], []);
    let candidates = credentials.candidates(&crate::UserName::Plain(name.into()), 0, "192.0.2.9".parse().unwrap());
    assert_eq!(candidates.refused, None);
    let signed = crate::integrity::Signed::find(&message).unwrap();
    let key = candidates.signers[0].key.bytes(crate::key::PasswordAlgorithm::Md5).unwrap();
    assert!(signed.is_by(key) && !signed.is_by(&key[1..]));
    let other = LongTermKeyCredentials::new(name.into(), "TheMatrix".into(), "example.org".into());
    assert!(message.validate_integrity(&other.into()).is_err());
}
