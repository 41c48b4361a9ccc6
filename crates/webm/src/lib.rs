//! A crash-safe WebM writer without IO.
