//! The relay from outside: coturn's clients, and a client of our own that says what they would not.
//! Every test runs two workers, so that whatever spans 5-tuples spans workers too.

mod abuse;
mod churn;
mod coturn;
mod credentials;
mod doctor;
mod dtls;
mod embedded;
mod fail2ban;
mod hairpin;
mod limits;
mod media_port;
mod mobility;
mod network;
mod outside;
mod peers;
mod proxy;
mod slow;
mod tcp_relay;
mod transports;
