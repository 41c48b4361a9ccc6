//! The relay from outside: coturn's clients, and a client of our own that says what they would not.
//! Every test runs two workers, so that whatever spans 5-tuples spans workers too.

mod abuse;
mod coturn;
mod embedded;
mod fail2ban;
mod limits;
mod media_port;
mod mobility;
mod network;
mod outside;
mod peers;
mod proxy;
mod transports;
