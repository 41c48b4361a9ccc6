//! The end-to-end tests: one binary, one module an area, each through public interfaces.

mod page;
