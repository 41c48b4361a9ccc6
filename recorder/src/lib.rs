//! Joins rooms as a silent participant, writes WebM and stores it.
