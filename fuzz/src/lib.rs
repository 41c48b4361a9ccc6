//! Fuzz targets; their corpora are replayed on stable by the tests.
