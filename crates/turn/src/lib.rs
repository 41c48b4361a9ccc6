//! A STUN and TURN server without IO: bytes and time in, effects out.
