//! Clients that we did not write against our relay, one module a client; their programs are in `tests/clients`. Each runs
//! on both ways that data take: handed over inside the process, and through the kernel to a peer in another namespace.

mod aioice;
mod browsers;
mod coturn;
mod dissected;
mod libnice;
mod mutated;
mod nat;
mod pion;
mod turn_proto;
mod webrtc_rs;
