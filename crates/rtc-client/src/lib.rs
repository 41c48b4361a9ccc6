//! A room participant without IO: recorder, load tests and end-to-end tests are built on it.
