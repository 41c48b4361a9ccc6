//! End-to-end tests through public interfaces, against software that is not ours.
